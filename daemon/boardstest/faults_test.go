// SPDX-License-Identifier: Apache-2.0

package boardstest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

// A kind is one of fault.
type kind int

const (
	brokerKilled kind = iota
	brokerFrozen
	networkCut
	boardUpgraded // from here on, of a companion
	companionKilled
	kinds
)

func (k kind) String() string {
	return [...]string{"broker killed", "broker frozen", "network cut", "board upgraded", "companion killed"}[k]
}

const (
	// shortestSlot and longestSlot bound the time of a fault and the rest behind it. On a slow
	// machine it is the test that takes longer.
	shortestSlot = 6 * time.Second
	longestSlot  = 20 * time.Second
	// deadAfter is how long a fault takes until the connections have noticed: longer than
	// half as long again as keepAlive of the companion.
	deadAfter = 50 * time.Second
)

// A fault is one of the schedule.
type fault struct {
	kind  kind
	board *board // of those that have one
	lasts time.Duration
	soft  bool // the broker is asked to end
	burst bool // a speaker of the board says much at once
	inner *fault
}

func (f fault) String() string {
	s := fmt.Sprintf("%v for %v", f.kind, f.lasts.Round(time.Millisecond))
	switch f.kind {
	case brokerKilled:
		s += fmt.Sprintf(", asked: %v", f.soft)
	case boardUpgraded:
		s = fmt.Sprintf("%v: %s", f.kind, f.board.name)
	case networkCut, companionKilled:
		s += ": " + f.board.name
	}
	if f.burst {
		s += fmt.Sprintf(", meanwhile %d lines at once on %s", burstLines, f.board.name)
	}
	if f.inner != nil {
		s += fmt.Sprintf(", meanwhile (%v)", f.inner)
	}
	return s
}

// burstLines is more than a companion keeps for others with the default of -history: some of
// it is lost, and has to be counted.
const burstLines = 1300

// draw returns the next fault of a kind. While the broker or the network is away, a companion
// may fail, too.
func (w *world) draw(k kind, rng *rand.Rand, slot time.Duration) fault {
	f := fault{
		kind: k, board: w.boards[rng.IntN(len(w.boards))],
		lasts: slot/4 + time.Duration(rng.Int64N(int64(slot/4)+1)), soft: rng.IntN(2) == 0,
	}
	if k < boardUpgraded {
		f.burst = k == brokerKilled
		if rng.IntN(2) == 0 {
			inner := w.draw(boardUpgraded+kind(rng.IntN(2)), rng, slot/2)
			// A companion that is killed knows by the daemon's history what it has shown in
			// the last moment. If more is said in that than the history holds, a line may
			// come twice, as penstock-mqtt(8) says.
			if f.burst && inner.board == f.board {
				inner.board = w.boards[(f.board.index+1)%len(w.boards)]
			}
			f.inner = &inner
		}
	}
	return f
}

// faults lets things fail until a time: rounds of all kinds, in an order and with lengths
// that come from the seed. Each fault is healed before the next.
func (w *world) faults(rng *rand.Rand, until time.Time) {
	w.t.Helper()
	slot := max(shortestSlot, min(time.Until(until)/time.Duration(kinds), longestSlot))
	for round := 0; round == 0 || time.Until(until) > slot; round++ {
		for _, i := range rng.Perm(int(kinds)) {
			f := w.draw(kind(i), rng, slot)
			// In the longer form there is time for connections to die of silence.
			if long := brokerFrozen + kind(round%2); round > 0 && f.kind == long && time.Until(until) > 2*deadAfter {
				f.lasts = deadAfter + time.Duration(rng.Int64N(int64(slot)))
			}
			if round > 0 && time.Until(until) < f.lasts {
				return
			}
			begun := time.Now()
			w.t.Log(f)
			w.fail(f)
			_ = w.pause(max(slot-time.Since(begun), slot/4))
		}
	}
}

// fail has a fault happen, and heals it.
func (w *world) fail(f fault) {
	w.t.Helper()
	b := f.board
	switch f.kind {
	case brokerKilled:
		w.meters[len(w.meters)-1].end()
		if f.soft {
			w.broker.end()
		} else {
			w.broker.kill()
		}
		w.meanwhile(f)
		w.serve()
	case brokerFrozen:
		w.broker.signal(w.t, unix.SIGSTOP)
		w.meanwhile(f)
		w.broker.signal(w.t, unix.SIGCONT)
	case networkCut:
		ip(w.t, "-n "+w.hub+" link set "+port(b.name)+" down")
		w.meanwhile(f)
		ip(w.t, "-n "+w.hub+" link set "+port(b.name)+" up")
	case boardUpgraded:
		b.upgrade()
	case companionKilled:
		b.mqtt.kill()
		_ = w.pause(f.lasts)
		b.join()
	}
}

// meanwhile is the time of a fault.
func (w *world) meanwhile(f fault) {
	w.t.Helper()
	begun := time.Now()
	if f.burst {
		f.board.burst()
	}
	if f.inner != nil {
		w.fail(*f.inner)
	}
	_ = w.pause(f.lasts - time.Since(begun))
}

// burst has a speaker say much, but not more at once than those who follow the feed can take.
func (b *board) burst() {
	s := b.clients[1]
	for range burstLines / 100 {
		n := int64(0)
		for range 100 {
			n = s.say()
		}
		b.w.until(func() bool {
			_, number := b.number(spoken{1, n})
			return number > 0
		}, func() string { return fmt.Sprintf("line %d of %s is not in the feed", n, s) })
	}
}
