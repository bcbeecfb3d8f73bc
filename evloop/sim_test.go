// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The simulation runs the loop on a kernel and with peers that are played
// from a seed. One seed is one history, and every history must keep the rules
// of sim_model_test.go (seen from outside) and sim_check_test.go (from inside).
// It is played for each back end, with io_uring in the place of epoll for the
// streams that a ring serves; sim_ring_test.go and sim_ring_check_test.go are
// what that adds.
//
//	go test ./evloop -run TestSimulation -seed=1234     that one, with its trace
//	go test ./evloop -run TestRingSimulation -seed=1234
//	go test ./evloop -run TestSimulation -seeds=100000  for a long night
//
// make sim and make nightly play more histories than make test.
var (
	seedFlag  = flag.Uint64("seed", 0, "replay this one history of the simulation and print its trace")
	seedsFlag = flag.Uint64("seeds", 0, "histories of the simulation to play, however long it takes; 0: a few seconds of them")
)

// Without -seeds, the histories end after simBudget, for machines that are
// much slower than any on which nothing is cut. With -short, which the race
// detector and emulated processors are given, they end sooner: a history is one
// goroutine's, and what they show is seen in the first ones.
const (
	defaultSeeds = 8000
	simBudget    = 10 * time.Second
	shortBudget  = 3 * time.Second
)

func budget() time.Duration {
	if testing.Short() {
		return shortBudget
	}
	return simBudget
}

// simGarbage is GOGC while histories are played. Each makes a loop, and with
// it buffers that are garbage a millisecond later: at the default of 100, two
// fifths of the time went into collections.
const simGarbage = 400

func TestSimulation(t *testing.T) { simulate(t, onEpoll) }

func TestRingSimulation(t *testing.T) { simulate(t, onRing) }

// A simBackend is the name of the back end that a history is played on.
type simBackend string

const (
	onEpoll simBackend = "epoll"
	onRing  simBackend = "io_uring"
)

// A simHistory is what decides a history.
type simHistory struct {
	seed    uint64
	backend simBackend
	faults  simFaults
	trace   bool
}

func simulate(t *testing.T, b simBackend) {
	if *seedFlag != 0 {
		replay(t, *seedFlag, b)
		return
	}
	last, bounded := *seedsFlag, *seedsFlag == 0
	if bounded {
		last = defaultSeeds
	}
	if testing.Short() {
		last /= 10
	}
	defer debug.SetGCPercent(debug.SetGCPercent(simGarbage))
	end := time.Now().Add(budget())
	var next, played, calls atomic.Uint64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for seed := next.Add(1); seed <= last && (!bounded || time.Now().Before(end)) && !t.Failed(); seed = next.Add(1) {
				w, err := play(simHistory{seed: seed, backend: b, faults: randomFaults(seed)})
				if err != nil {
					t.Errorf("seed %d: %v\nreplay: go test ./evloop -run '^%s$' -seed=%d", seed, err, t.Name(), seed)
				}
				played.Add(1)
				calls.Add(uint64(w.k.faults.calls))
			}
		})
	}
	all.Wait()
	t.Logf("%d histories, %d system calls", played.Load(), calls.Load())
}

func replay(t *testing.T, seed uint64, b simBackend) {
	w, err := play(simHistory{seed: seed, backend: b, faults: randomFaults(seed), trace: true})
	t.Log(strings.Join(w.lines, "\n"))
	if err != nil {
		t.Errorf("seed %d: %v", seed, err)
	}
}

// randomFaults lets every fourth history pass without a fault, so that a loop
// that only works when it is disturbed is found too.
func randomFaults(seed uint64) simFaults {
	if seed%4 == 0 {
		return simFaults{}
	}
	return simFaults{rate: int(seed * 7 % 60), shorts: int(seed * 3 % 30)}
}

// play runs one history and returns the first rule that it broke.
func play(h simHistory) (w *simWorld, err error) {
	defer func() {
		if f := recover(); f != nil {
			failure, ok := f.(simFailure)
			if !ok {
				panic(fmt.Sprintf("%v, seed %d: %v\n%s", h.backend, h.seed, f, debug.Stack()))
			}
			err = fmt.Errorf("%s", strings.TrimSpace(string(failure)))
			w.l.wake.close()
			w.l.be.close()
		}
	}()
	w = &simWorld{}
	w.begin(h)
	for range 20 + w.rng.IntN(100) {
		w.k.clock += Time(w.rng.IntN(int(5 * time.Millisecond)))
		if w.chance(10) {
			for n := 1 + w.rng.IntN(10)/9*3*fewest; n > 0; n-- {
				w.post()
			}
		}
		if w.restarts && w.chance(30) {
			w.restart()
		}
		if err := w.oneTurn(w.chance(2)); err != nil {
			if !w.k.faults.fatal {
				w.fail("wait:", err)
			}
			w.end()
			return w, nil // the wait itself has failed: nothing can be served any more
		}
	}
	if r := ringOf(w.l); r == nil || r.failed == nil || !w.k.faults.fatal { // else the next wait says so
		w.calm()
	}
	w.end()
	return w, nil
}

// calm ends the history: no faults any more, whoever was paused goes on, and
// the peers read what they are sent. Then the loop has to come to rest by
// itself, with nothing forgotten.
func (w *simWorld) calm() {
	w.quiet = true
	w.k.faults = simFaults{calls: w.k.faults.calls, nth: w.k.faults.nth, fatal: w.k.faults.fatal}
	w.l.readBudget = readSize // a small one would only take longer, too
	w.k.trace("calm")
	w.l.Post(func() {
		w.l.SetLimits(1<<20, 0)
		for _, ln := range w.lns {
			w.paused[ln] = false
			ln.Resume()
		}
		for _, m := range w.conns {
			m.owed = false
			m.c.HoldIdle(false)
			w.resume(m)
		}
	})
	w.rest()
	w.checkDelivered()
	for _, s := range w.socks {
		w.peerShuts(s)
	}
	w.rest()
	w.checkDelivered()
	for _, m := range w.conns {
		if !m.eof {
			w.fail("client", m.s.id, "has ended and is still served")
		}
	}
	if w.posted > 0 {
		w.fail(w.posted, "posted functions never ran")
	}
}

// rest turns until the loop would sleep for ever, and its peers have nothing
// to read: the ring can send and fall asleep in the same turn.
func (w *simWorld) rest() {
	w.k.asleep = false
	for turns := 0; w.peersRead() || !w.k.asleep; turns++ {
		if err := w.oneTurn(turns > 0); err != nil { // the first one runs what was posted
			w.fail("wait:", err)
		}
		if turns > 10000 {
			w.fail("the loop does not come to rest")
		}
	}
}

// peersRead has all peers read all they were sent, and reports whether that
// was anything.
func (w *simWorld) peersRead() (any bool) {
	for _, s := range w.socks {
		s.size = simWindow // a small buffer would only take longer
		before := s.unread
		w.peerReads(s, s.unread)
		any = any || s.unread < before
	}
	return any
}

// end closes the loop in whatever state it is.
func (w *simWorld) end() {
	w.quiet = true
	w.l.Close()
	for _, m := range w.away {
		w.k.close(m.s.file.fd, false) // never taken back: the handler's to close
	}
	w.checkClosed()
}

// Whatever call fails, in whatever way, the rules hold: each call of some
// short histories is made to fail once. What that takes grows with the square
// of the calls, so long histories are left to the random faults.
func TestSimulationEachCallFails(t *testing.T) { failEachCall(t, onEpoll) }

func TestRingSimulationEachCallFails(t *testing.T) { failEachCall(t, onRing) }

func failEachCall(t *testing.T, b simBackend) {
	const short, histories = 200, 4 // calls of a history; so many histories
	end := time.Now().Add(time.Minute)
	if testing.Short() { // the race detector makes a history ten times as long
		end = time.Now().Add(shortBudget)
	}
	chosen, played := 0, 0
	for seed := uint64(1); chosen < histories; seed++ {
		undisturbed := playOnce(t, b, seed, simFaults{})
		if undisturbed > short {
			continue
		}
		chosen++
		for class := range simClasses {
			for nth := 1; nth <= undisturbed && time.Now().Before(end); nth++ {
				playOnce(t, b, seed, simFaults{nth: nth, class: class})
				played++
			}
		}
	}
	t.Logf("%d histories", played)
}

// playOnce plays a history that must hold, and returns how many calls it could fail.
func playOnce(t *testing.T, b simBackend, seed uint64, faults simFaults) (calls int) {
	w, err := play(simHistory{seed: seed, backend: b, faults: faults})
	if err != nil {
		t.Fatalf("seed %d, class %d, call %d: %v", seed, faults.class, faults.nth, err)
	}
	return w.k.faults.calls
}
