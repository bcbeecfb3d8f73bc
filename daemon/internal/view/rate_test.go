// SPDX-License-Identifier: Apache-2.0

package view

import (
	"testing"
	"time"
)

// TestRates: who asks each second gets the rate of the last second, and of the last minute
// once half of it has passed; the first answer after a pause has none.
func TestRates(t *testing.T) {
	var r Rates
	at, sent := time.Duration(0), Traffic{}
	ask := func(after time.Duration, in uint64) (second, minute *Traffic) {
		at += after
		sent.In += in
		sent.Out += 2 * in
		return r.Ask(at, sent)
	}
	if s, m := ask(0, 7); s != nil || m != nil {
		t.Errorf("the first answer has %v and %v", s, m)
	}
	for i := range 29 {
		if s, m := ask(time.Second, 100); s == nil || *s != (Traffic{100, 200}) || m != nil {
			t.Fatalf("after %d s: %v, %v", i+1, s, m)
		}
	}
	for range 200 {
		ask(time.Second, 100)
	}
	s, m := ask(time.Second, 6100)
	if s == nil || m == nil || *s != (Traffic{6100, 12200}) || *m != (Traffic{200, 400}) {
		t.Errorf("%v, %v", s, m)
	}
	if len(r.samples) > mostSamples {
		t.Errorf("%d samples are kept", len(r.samples))
	}
	for range 1000 { // many who ask at once take no place from older samples
		ask(time.Millisecond, 0)
	}
	if _, m := ask(0, 0); m == nil {
		t.Error("the minute is forgotten")
	}
	if s, m := ask(time.Hour, 100); s != nil || m != nil {
		t.Errorf("after an hour: %v, %v", s, m)
	}
	if s, _ := ask(time.Second, 50); s == nil || s.In != 50 {
		t.Errorf("a second later: %v", s)
	}
}
