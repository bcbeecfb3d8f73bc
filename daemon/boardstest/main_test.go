// SPDX-License-Identifier: Apache-2.0

package boardstest

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	programs = flag.String("programs", "", "the folder of penstock and penstock-mqtt; without it the test is skipped")
	span     = flag.Duration("time", time.Minute, "how long the boards are used")
	clients  = flag.Int("clients", 10, "clients of each board")
	history  = flag.Int("history", 1000, "lines that a daemon keeps, and so its companion")
	seed     = flag.Uint64("seed", 0, "of the schedule of faults; 0: another one each time")
)

const (
	// speakers is how many clients of a board speak.
	speakers = 4
	// talkEvery is the pause between two lines of a speaker.
	talkEvery = 200 * time.Millisecond
	// grace is how much longer than -time the test may take: starts on a slow machine, and
	// lines that come late.
	grace = 90 * time.Second
)

// boardNames are the boards.
var boardNames = []string{"a", "b", "c"}

// need skips the test where it cannot run.
func need(t *testing.T) {
	t.Helper()
	if *programs == "" {
		t.Skip("no -programs; use make boards-test")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, name := range []string{"ip", "mosquitto", "mosquitto_sub"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skip(err)
		}
	}
}

// TestBoards: each line comes once, and in the order of its speaker, to every client of every
// board, but for those that are counted as lost.
func TestBoards(t *testing.T) {
	need(t)
	if *clients < speakers {
		t.Fatalf("-clients is less than %d", speakers)
	}
	if *seed == 0 {
		*seed = rand.Uint64N(1e9) + 1
	}
	t.Logf("-seed %d -time %v -clients %d -history %d", *seed, *span, *clients, *history)
	begun := time.Now()
	ctx, stop := context.WithTimeout(t.Context(), *span+grace)
	defer stop()
	// The test ends what it has started, also when somebody ends the test.
	ctx, unhook := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer unhook()

	w := newWorld(t, ctx)
	w.figures(*span / 20)
	w.settle()
	w.talk()
	w.calm(*span / 15)
	w.faults(rand.New(rand.NewPCG(*seed, 1)), begun.Add(*span-min(*span/4, time.Minute)))
	w.hush()
	w.settle()
	w.memory()
	w.lasted = time.Since(begun)
	w.judge()
}
