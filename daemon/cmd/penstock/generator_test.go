// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/config"
)

// Whatever happens while the files are read, the generator goes on with an
// error that it can report, and what was applied.
func TestInTime(t *testing.T) {
	want := &config.Config{}
	if cfg, err := inTime(time.Hour, func() (*config.Config, error) { return want, nil }); cfg != want || err != nil {
		t.Errorf("inTime = %v, %v, want what was loaded", cfg, err)
	}
	_, err := inTime(time.Hour, func() (*config.Config, error) { panic("a mistake of ours") })
	if err == nil || !strings.Contains(err.Error(), "a mistake of ours") {
		t.Errorf("inTime = %v, want the panic", err)
	}
	hang := make(chan struct{})
	defer close(hang)
	_, err = inTime(time.Millisecond, func() (*config.Config, error) { <-hang; return nil, nil })
	if err == nil || !strings.Contains(err.Error(), "takes longer than 1ms") {
		t.Errorf("inTime = %v, want that it takes too long", err)
	}
}
