// SPDX-License-Identifier: Apache-2.0

package process

import (
	"testing"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// TestProgramFloodIsPortioned: a program that floods its output is heard a portion
// a turn, smaller the more clients a line may go to. 64 KiB of two-byte lines would
// otherwise be as many messages to everybody before any client is served again.
func TestProgramFloodIsPortioned(t *testing.T) {
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends[1])
	c, err := loop.Add(ends[0], execStatus{p: &Program{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ offered, most, want int }{
		{1000, deliveries / 4, 1000},
		{64 << 10, deliveries / 4, deliveries / 4},
		{64 << 10, deliveries / 1000, 128},
		{100, 0, 100},
	} {
		if got := len(portion(c, make([]byte, tt.offered), tt.most)); got != tt.want {
			t.Errorf("portion of %d bytes, at most %d: %d, want %d", tt.offered, tt.most, got, tt.want)
		}
	}
}
