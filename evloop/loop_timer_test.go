// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A clock is a TimerHandler that notes what expired.
type clock struct {
	t       *testing.T
	kinds   []int
	expired func(l *Loop, t Timer)
}

func (c *clock) Expired(l *Loop, t Timer) {
	if l.Now() < t.Deadline {
		c.t.Errorf("timer %d expired %v early", t.Kind, t.Deadline.Sub(l.Now()))
	}
	if t.Conn != (ConnID{}) && l.Conn(t.Conn) == nil {
		c.t.Errorf("timer %d of a connection that has gone", t.Kind)
	}
	c.kinds = append(c.kinds, t.Kind)
	if c.expired != nil {
		c.expired(l, t)
	}
}

// wait takes turns until n timers have expired, and one more.
func (r *rig) wait(c *clock, n int) {
	r.Helper()
	r.until("timers", func() bool { return len(c.kinds) >= n })
	r.turn()
}

// Timers expire in order, once, and never early.
func TestLoopTimersInOrder(t *testing.T) { eachBackend(t, timersInOrder) }

func timersInOrder(r *rig) {
	c := &clock{t: r.T}
	now := monotonic()
	for i, after := range []time.Duration{3, 1, 2, 0, -1} {
		r.l.Schedule(Timer{Deadline: now.Add(after * time.Millisecond), Kind: i, Handler: c})
	}
	if got := r.l.Stats().Timers; got != 5 {
		r.Errorf("%d timers, want 5", got)
	}
	r.wait(c, 5)
	// The two that were due when they were armed count as due at that moment.
	slices.Sort(c.kinds[:2])
	if want := []int{3, 4, 1, 2, 0}; !slices.Equal(c.kinds, want) {
		r.Errorf("expired in order %v, want %v", c.kinds, want)
	}
	if got := r.l.Stats().Timers; got != 0 {
		r.Errorf("%d timers left", got)
	}
}

// A cancelled timer does not expire.
func TestLoopTimerCancelled(t *testing.T) { eachBackend(t, timerCancelled) }

func timerCancelled(r *rig) {
	c := &clock{t: r.T}
	at := monotonic().Add(time.Millisecond)
	a := r.l.Schedule(Timer{Deadline: at, Kind: 1, Handler: c})
	r.l.Schedule(Timer{Deadline: at, Kind: 2, Handler: c})
	if !r.l.Cancel(a) || r.l.Cancel(a) || r.l.Cancel(TimerID{}) {
		r.Error("Cancel: want true once, and false for what is not armed")
	}
	other := openLoop(r.T)
	if other.Cancel(r.l.Schedule(Timer{Deadline: at, Kind: 4, Handler: c})) {
		r.Error("a loop cancelled the timer of another")
	}
	b := r.l.Schedule(Timer{Deadline: at, Kind: 3, Handler: c}) // takes the free slot
	if r.l.Cancel(a) {
		r.Error("a former id cancelled the timer that came after it")
	}
	r.wait(c, 3)
	if !slices.Equal(slices.Sorted(slices.Values(c.kinds)), []int{2, 3, 4}) {
		r.Errorf("expired: %v, want 2, 3 and 4", c.kinds)
	}
	if r.l.Cancel(b) {
		r.Error("Cancel of an expired timer = true")
	}
}

// A timer may be cancelled and armed in Expired.
func TestLoopTimerInExpired(t *testing.T) { eachBackend(t, timerInExpired) }

func timerInExpired(r *rig) {
	c := &clock{t: r.T}
	now := monotonic()
	var second TimerID
	c.expired = func(l *Loop, t Timer) {
		if t.Kind != 1 {
			return
		}
		if !l.Cancel(second) {
			r.Error("a timer that is due at the same time could not be cancelled")
		}
		l.Schedule(Timer{Deadline: l.Now().Add(time.Millisecond), Kind: 3, Handler: c})
	}
	r.l.Schedule(Timer{Deadline: now, Kind: 1, Handler: c})
	second = r.l.Schedule(Timer{Deadline: now.Add(1), Kind: 2, Handler: c})
	r.wait(c, 2)
	if !slices.Equal(c.kinds, []int{1, 3}) {
		r.Errorf("expired: %v, want 1 and 3", c.kinds)
	}
}

// Thousands of timers expire in order, and only those that were not cancelled.
func TestLoopTimersInThousands(t *testing.T) { eachBackend(t, timersInThousands) }

func timersInThousands(r *rig) {
	const n = 20_000
	rng := rand.New(rand.NewPCG(1, 2))
	c := &clock{t: r.T}
	now := monotonic()
	deadlines := make([]Time, n)
	var ids []TimerID
	for i := range n {
		deadlines[i] = now.Add(time.Duration(rng.IntN(int(5 * time.Millisecond))))
		ids = append(ids, r.l.Schedule(Timer{Deadline: deadlines[i], Kind: i, Handler: c}))
	}
	cancelled := 0
	for i := 0; i < n; i += 3 {
		if r.l.Cancel(ids[i]) {
			cancelled++
		}
	}
	r.wait(c, n-cancelled)
	if len(c.kinds) != n-cancelled {
		r.Errorf("%d expired, want %d", len(c.kinds), n-cancelled)
	}
	seen := make([]bool, n)
	for _, k := range c.kinds {
		if seen[k] || k%3 == 0 {
			r.Fatalf("timer %d expired again or after Cancel", k)
		}
		seen[k] = true
	}
	// The timers of one turn come by deadline. Over all turns the order may differ where
	// a turn's moment lies between two deadlines.
	if !slices.IsSortedFunc(c.kinds, func(a, b int) int { return int(deadlines[a] - deadlines[b]) }) {
		r.Error("not in the order of their deadlines")
	}
}

// A timer that is due again at once lets the others live.
func TestLoopTimerDueAgain(t *testing.T) { eachBackend(t, timerDueAgain) }

// An Expired that arms the next at once must not hold the loop: between any
// two of them the others are served.
func timerDueAgain(r *rig) {
	_, p := r.unix()
	r.onData = func(c *Conn, b []byte) int { c.Write(b); return len(b) }
	c := &clock{t: r.T}
	again := Timer{Deadline: 1, Handler: c}
	c.expired = func(l *Loop, t Timer) { l.Schedule(again) }
	r.l.Schedule(again)
	r.l.Schedule(again)
	for range 10 {
		before := len(c.kinds)
		p.write("?")
		r.turn()
		if got := string(p.read()); got != "?" {
			r.Fatalf("got %q, want the answer in the same turn", got)
		}
		if n := len(c.kinds) - before; n > 2 {
			r.Errorf("%d expired in a turn, want at most 2", n)
		}
	}
	c.expired = nil
}

// A connection's timers end with it.
func TestLoopTimersOfConn(t *testing.T) { eachBackend(t, timersOfConn) }

func timersOfConn(r *rig) {
	c := &clock{t: r.T}
	a, _ := r.unix()
	b, _ := r.unix()
	due := monotonic()
	for i := range 10 {
		r.l.Schedule(Timer{Deadline: due.Add(time.Hour), Kind: i, Conn: a.ID(), Handler: c})
		r.l.Schedule(Timer{Deadline: due, Kind: 100 + i, Conn: b.ID(), Handler: c})
	}
	one := r.l.Schedule(Timer{Deadline: due.Add(time.Hour), Conn: a.ID(), Handler: c})
	r.l.Cancel(one)
	r.do(func() { a.Abort(nil) })
	r.wait(c, 10)
	if got := r.l.Stats().Timers; got != 0 || len(c.kinds) != 10 {
		r.Errorf("%d expired, %d timers left; want 10 of the other connection and none", len(c.kinds), got)
	}
}

// A loop at rest makes no turns.
func TestLoopNoTick(t *testing.T) { eachBackend(t, noTick) }

func noTick(r *rig) {
	r.listen(1)
	for range 3 {
		r.tcp()
	}
	for range 3 {
		r.turn() // whatever there was to do at the start
	}
	if n := r.turnsAtRest(50 * time.Millisecond); n > 2 {
		r.Errorf("%d turns at rest, want one", n)
	}
}

// turnsAtRest returns how many turns the loop takes in d with nothing to do. A
// signal ends a wait early, and the runtime sends some to preempt, so that the
// quietest of several tries counts.
func (r *rig) turnsAtRest(d time.Duration) (least uint64) {
	r.Helper()
	least = math.MaxUint64
	for try := 0; try < 10 && least > 1; try++ {
		before := r.l.Stats().Turns
		g := &guard{}
		r.l.Schedule(Timer{Deadline: monotonic().Add(d), Handler: g})
		for !g.fired {
			if err := r.l.turn(true); err != nil {
				r.Fatal(err)
			}
		}
		least = min(least, r.l.Stats().Turns-before)
	}
	return least
}
