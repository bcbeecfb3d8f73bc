// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/report"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// An audience notes what a program asks of it.
type audience struct{ proceeds int }

func (*audience) Size() int            { return 1 }
func (a *audience) Proceed()           { a.proceeds++ }
func (*audience) Deliver([]byte)       {}
func (*audience) Overlong([]byte, int) {}
func (*audience) Gone() int            { return 0 }

// TestProgramEndedBeforeItWasKnownToRun: the log has its number, although the number
// can be used again, and no line is written to it.
func TestProgramEndedBeforeItWasKnownToRun(t *testing.T) {
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Close()
	pipes, err := openPipes()
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(append(pipes.theirs(), pipes.status[0])...)
	var out bytes.Buffer
	user := &audience{}
	p := New([]string{"/bin/program"}, loop, report.New(slog.New(slog.NewTextHandler(&out, nil)), config.PeersFull, loop).Service("sensor"), user)
	p.Times.Rest = time.Hour
	p.number, p.pipes, p.life = unix.Getpid(), pipes, life{state: early}
	p.advance(runs)
	if user.proceeds > 0 || p.Ready() {
		t.Error("a dead program is given lines")
	}
	if !strings.Contains(out.String(), "pid=") || strings.Contains(out.String(), "pid=0") {
		t.Errorf("the log has no number of the process:\n%s", out.String())
	}
}

// TestStartedInVain: a program that a goroutine has started for a loop that is closed
// meanwhile does not live on.
func TestStartedInVain(t *testing.T) {
	loop, err := evloop.New(evloop.Config{})
	if err != nil {
		t.Fatal(err)
	}
	log := report.New(slog.New(slog.DiscardHandler), config.PeersFull, loop).Service("sensor")
	p := New([]string{"/bin/sleep", "1000"}, loop, log, &audience{})
	before := runtime.NumGoroutine()
	p.Start()
	loop.Close()
	// The goroutine ends with the process.
	for end := time.Now().Add(evlooptest.Patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("the program lives on")
		}
	}
}
