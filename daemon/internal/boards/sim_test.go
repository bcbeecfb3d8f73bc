// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// The simulation plays many boards, each with a daemon, a companion and its Room, and one
// broker, from a seed. The broker has sessions with bounded queues, doubles messages, and
// lets those of one topic overtake those of another. Boards are cut off, crash, and come
// back with what they have saved, with an older state, or with none. The broker is killed,
// and comes back with or without its memory. Then all is healed, and checked:
//
//   - A room shows each line once, and the lines of each board in their order.
//   - A line that was said on a board that another one had met, is shown there, or is
//     lost there, with the board and the number.
//   - Everybody knows who is where.
//   - Messages have a bound, and end.
//
// Run it as
//
//	go test ./daemon/internal/boards -run '^TestSimulation$' -seed=1234   one, with its trace
//	go test ./daemon/internal/boards -run '^TestSimulation$' -seeds=20000
//
// sim_world_test.go has the steps, sim_broker_test.go the broker, sim_board_test.go a
// board, and sim_check_test.go what has to hold.
var (
	seedFlag  = flag.Uint64("seed", 0, "replay this one history of the simulation and print its trace")
	seedsFlag = flag.Uint64("seeds", 0, "histories of the simulation to play, however long it takes; 0: a second of them")
)

// simBudget is how long histories are played without -seeds, so many of them.
const (
	simBudget = time.Second
	simLeast  = 5
	simMost   = 500
)

func TestSimulation(t *testing.T) {
	if *seedFlag != 0 {
		w := newSimWorld(*seedFlag)
		w.trace = true
		err := w.play()
		t.Log(strings.Join(w.lines, "\n"))
		if err != nil {
			t.Errorf("seed %d: %v", *seedFlag, err)
		}
		return
	}
	var sum simSums
	begin, played := time.Now(), uint64(0)
	for seed := uint64(1); seed <= *seedsFlag || *seedsFlag == 0 && (seed <= simLeast || seed <= simMost && time.Since(begin) < simBudget); seed++ {
		w := newSimWorld(seed)
		if err := w.play(); err != nil {
			t.Fatalf("seed %d: %v\nreplay: go test ./daemon/internal/boards -run '^TestSimulation$' -seed=%d", seed, err, seed)
		}
		sum.add(w.sums)
		played++
	}
	t.Logf("%d histories: %+v", played, sum)
	if played >= 20 && (sum.Said == 0 || sum.Shown == 0 || sum.Asks == 0 || sum.Caught == 0 || sum.Lost == 0) {
		t.Error("some of what is to be tested did not happen")
	}
}

// TestHundredBoards is a history with so many.
func TestHundredBoards(t *testing.T) {
	w, n := newSimWorld(1), 100
	if testing.Short() { // the race detector finds nothing: there is one goroutine
		n = 10
	}
	w.many(n)
	if err := w.play(); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", w.sums)
}

// simSums are what has happened.
type simSums struct {
	Said, Shown, Caught, Lost, Doubt, Waived int
	Messages, Asks, Dropped                  int // of the broker
	Passed, Bytes                            int // messages that it passed on, and their size
	Ups, Kills, Crashes, Restarts            int
}

func (s *simSums) add(o simSums) {
	s.Said, s.Shown, s.Caught, s.Lost = s.Said+o.Said, s.Shown+o.Shown, s.Caught+o.Caught, s.Lost+o.Lost
	s.Doubt, s.Waived = s.Doubt+o.Doubt, s.Waived+o.Waived
	s.Messages, s.Asks, s.Dropped = s.Messages+o.Messages, s.Asks+o.Asks, s.Dropped+o.Dropped
	s.Passed, s.Bytes = s.Passed+o.Passed, s.Bytes+o.Bytes
	s.Ups, s.Kills, s.Crashes, s.Restarts = s.Ups+o.Ups, s.Kills+o.Kills, s.Crashes+o.Crashes, s.Restarts+o.Restarts
}

// A simWorld is one history.
type simWorld struct {
	rng    *rand.Rand
	seed   uint64
	now    time.Time
	steps  int
	longs  int  // pauses
	plain  bool // the network has no faults at all
	mild   bool // no process ends, and no break is long: then nothing may be lost
	broker *simBroker
	boards []*simBoard
	said   []*simSaid
	byText map[string]*simSaid
	err    error
	sums   simSums
	trace  bool
	lines  []string
}

func newSimWorld(seed uint64) *simWorld {
	w := &simWorld{
		rng: rand.New(rand.NewPCG(seed, 1)), seed: seed, now: time.Unix(1_000_000, 0),
		byText: map[string]*simSaid{},
	}
	w.mild = w.one(3)
	w.broker = &simBroker{w: w, on: true, retained: map[string]*simMessage{}, bound: 10 + w.rng.IntN(200)}
	w.steps = 200 + w.rng.IntN(800)
	for range 2 + w.rng.IntN(5) {
		w.add()
	}
	return w
}

// many makes it a history of so many boards.
func (w *simWorld) many(n int) {
	w.steps, w.broker.bound = 300, 1000
	for len(w.boards) < n {
		w.add()
	}
}

func (w *simWorld) add() {
	b := &simBoard{
		w: w, name: fmt.Sprintf("b%d", len(w.boards)), history: []int{0, 10, 50}[w.rng.IntN(3)],
		met: map[string]bool{}, shown: map[*simSaid]bool{}, owed: map[*simSaid]bool{}, present: map[string][]string{},
	}
	if b.keeps = b.history; w.mild { // and no room begins with a history, which may have gaps
		b.history, b.keeps = 0, 10_000
	}
	b.session = &simSession{of: b}
	w.broker.sessions = append(w.broker.sessions, b.session)
	w.boards = append(w.boards, b)
	b.startDaemon()
	b.startCompanion(New(b.options()))
}

// one is true once in n times.
func (w *simWorld) one(n int) bool { return w.rng.IntN(n) == 0 }

func (w *simWorld) failf(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf(format, args...)
	}
}

func (w *simWorld) note(format string, args ...any) {
	if w.trace {
		w.lines = append(w.lines, fmt.Sprintf("%8.3f ", w.now.Sub(time.Unix(1_000_000, 0)).Seconds())+fmt.Sprintf(format, args...))
	}
}
