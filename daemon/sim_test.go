// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// The simulation runs the whole daemon with clients that are played from a seed: they
// come and go, write in random cuts, read at random speeds, half-close and reset. At
// random turns the daemon is handed over to another one, through the queue and the
// records of a real restart. Each client knows what it must see, byte for byte.
//
//	go test ./daemon -run '^TestSimulation$' -seed=1234    that one, with its trace
//	go test ./daemon -run '^TestRingSimulation$' -seed=1234
//	go test ./daemon -run 'Simulation$' -seeds=20000       for a long night
//
// make sim and make nightly play more histories than make test.
//
// The kernel, the clock and the program of a handler are real here, other than in
// evloop's simulation, whose kernel can be reached by evloop alone. So a seed decides
// what clients do in which turn, and not how many nanoseconds pass in between. In
// return all that a restart meets takes part, down to the queue of descriptors. All is
// done on one goroutine, in functions that the loop runs once a turn: no peer acts
// while the loop does. So a failure that depends on the time may need its seed more than
// once.
//
// sim_world_test.go has the turns, sim_client_test.go the clients, sim_rest_test.go
// what each kind owes them, sim_room_test.go that of a room, and sim_program_test.go
// that of a handler.
var (
	seedFlag  = flag.Uint64("seed", 0, "replay this one history of the simulation and print its trace")
	seedsFlag = flag.Uint64("seeds", 0, "histories of the simulation to play, however long it takes; 0: a second of them for each back end")
)

// Without -seeds, the histories end after simBudget.
const simBudget = time.Second

func TestSimulation(t *testing.T) { simulate(t, "epoll") }

func TestRingSimulation(t *testing.T) { simulate(t, "io_uring") }

func simulate(t *testing.T, backend string) {
	if *seedFlag != 0 {
		w := newSimWorld(t, *seedFlag, backend)
		err := w.play()
		t.Log(strings.Join(w.lines, "\n"))
		if err != nil {
			t.Errorf("seed %d: %v", *seedFlag, err)
		}
		return
	}
	end, restarts, played := time.Now().Add(simBudget), 0, uint64(0)
	for seed := uint64(1); seed <= *seedsFlag || *seedsFlag == 0 && time.Now().Before(end); seed++ {
		w := newSimWorld(t, seed, backend)
		if err := w.play(); err != nil {
			t.Fatalf("seed %d: %v\nreplay: go test ./daemon -run '^%s$' -seed=%d", seed, err, t.Name(), seed)
		}
		restarts += w.generation
		played++
	}
	t.Logf("%d histories, %d restarts", played, restarts)
}

// A simChoice is one of several things that may happen, weight times out of the sum of
// all weights.
type simChoice[F any] struct {
	weight int
	name   string
	what   F
}

// pick draws one of the choices.
func pick[F any](rng *rand.Rand, choices []simChoice[F]) simChoice[F] {
	sum := 0
	for _, c := range choices {
		sum += c.weight
	}
	n := rng.IntN(sum)
	for _, c := range choices {
		if n -= c.weight; n < 0 {
			return c
		}
	}
	panic("no choice")
}

// A simNotYet says what a client still waits for. If it does not come, it is a fault.
type simNotYet string

func (s simNotYet) Error() string { return string(s) }

func notYet(format string, args ...any) error { return simNotYet(fmt.Sprintf(format, args...)) }
