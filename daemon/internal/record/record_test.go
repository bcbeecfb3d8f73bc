// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"math"
	"testing"
)

func TestRecord(t *testing.T) {
	var w Writer
	for _, v := range []uint64{0, 1, 127, 128, math.MaxUint64} {
		w.Number(v)
	}
	w.Bool(true)
	w.Text(nil)
	w.Text([]byte("a\x00b"))
	r := NewReader(w)
	for _, v := range []uint64{0, 1, 127, 128, math.MaxUint64} {
		if got := r.Number(); got != v {
			t.Errorf("Number() = %d, want %d", got, v)
		}
	}
	if !r.Bool() || len(r.Text()) != 0 || string(r.Text()) != "a\x00b" || r.Left() || r.Err() != nil {
		t.Errorf("what was written cannot be read: %v", r.Err())
	}
	if r.Number(); r.Err() == nil {
		t.Error("a number behind the end")
	}
}

func TestDamaged(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":                   {},
		"cut number":              {0x80},
		"number that is too long": {0x80, 0x00},
		"more than 64 bits":       bytes.Repeat([]byte{0xff}, 11),
		"text that is cut":        {2, 'a'},
		"text beyond int":         append(bytes.Repeat([]byte{0xff}, 9), 1),
		"something behind":        {1, 'a', 0},
	} {
		r := NewReader(b)
		r.Text()
		if r.Err() == nil {
			t.Errorf("%s is taken for a text", name)
		}
	}
	if r := NewReader([]byte{2}); r.Bool() || r.Err() == nil {
		t.Error("2 is taken for a bool")
	}
}

// FuzzRecord: a sequence of texts that can be read is written back as the same bytes.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{1, 'a', 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		var w Writer
		for r.Left() {
			w.Text(r.Text())
		}
		if r.Err() == nil && !bytes.Equal(w, b) {
			t.Errorf("%x is read as %x", b, []byte(w))
		}
	})
}
