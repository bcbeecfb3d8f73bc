// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Posts of one goroutine run in order.
func TestLoopPostOrder(t *testing.T) { eachBackend(t, postOrder) }

func postOrder(r *rig) {
	var got []int
	for i := range 100 {
		if !r.l.Post(func() { got = append(got, i) }) {
			r.Fatal("Post = false")
		}
	}
	r.turn()
	for i, g := range got {
		if g != i {
			r.Fatalf("function %d ran in place %d", g, i)
		}
	}
	if len(got) != 100 {
		r.Errorf("%d ran in the first turn, want 100", len(got))
	}
}

// run starts the loop on a goroutine of its own and returns how to end it.
func (r *rig) run() (stop func()) {
	done := make(chan error, 1)
	go func() { done <- r.l.Run() }()
	return func() {
		r.Helper()
		r.l.Stop()
		if err := <-done; err != nil {
			r.Errorf("Run = %v", err)
		}
	}
}

// Posts from many goroutines all run.
func TestLoopPostMany(t *testing.T) { eachBackend(t, postMany) }

func postMany(r *rig) {
	const goroutines, each = 16, 500
	stop := r.run()
	ran := 0 // the loop's
	all := make(chan struct{})
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range each {
				r.l.Post(func() {
					if ran++; ran == goroutines*each {
						close(all)
					}
				})
			}
		})
	}
	wg.Wait()
	select {
	case <-all:
	case <-time.After(patience):
		r.Error("functions are left that never ran")
	}
	stop()
}

// Posts between two turns cost one wake-up.
func TestLoopPostCoalesced(t *testing.T) { eachBackend(t, postCoalesced) }

func postCoalesced(r *rig) {
	r.turn()
	for range 3 {
		before := r.wakes()
		for range 100 {
			r.l.Post(func() {})
		}
		if got := r.wakes() - before; got != 1 {
			r.Errorf("100 posts wrote the eventfd %d times, want once", got)
		}
		r.turn()
	}
}

// wakes returns how often the loop was woken: its eventfd is never read, so
// the counter only grows. Reading it here takes nothing from the loop, which
// is told by edges.
func (r *rig) wakes() uint64 {
	r.Helper()
	return fdinfo(r.T, r.l.wake.fd, "eventfd-count:")
}

// A post of a posted function runs in a later turn.
func TestLoopPostInPost(t *testing.T) { eachBackend(t, postInPost) }

func postInPost(r *rig) {
	turn := [3]uint64{}
	r.l.Post(func() {
		turn[0] = r.l.Stats().Turns
		r.l.Post(func() {
			turn[1] = r.l.Stats().Turns
			r.l.Post(func() { turn[2] = r.l.Stats().Turns })
		})
	})
	r.until("three posts", func() bool { return turn[2] > 0 })
	if turn[1] <= turn[0] || turn[2] <= turn[1] {
		r.Errorf("ran in turns %v, want each in a later one", turn)
	}
}

// Post finds a connection by its ID, or its end.
func TestLoopPostToConn(t *testing.T) { eachBackend(t, postToConn) }

// postToConn brings an answer that another goroutine worked out to its connection.
func postToConn(r *rig) {
	c, p := r.unix()
	id := c.ID()
	stop := r.run()
	found := make(chan bool)
	answer := func() {
		c := r.l.Conn(id)
		if c != nil {
			c.Write([]byte("answer"))
		}
		found <- c != nil
	}
	r.l.Post(answer)
	if !<-found {
		r.Error("an open connection was not found")
	}
	arrives(r.T, p.fd, unix.POLLIN)
	if got := string(p.read()); got != "answer" {
		r.Errorf("peer got %q", got)
	}
	r.l.Post(func() { r.l.Conn(id).Abort(nil) })
	r.l.Post(answer)
	if <-found {
		r.Error("a connection that has gone was found")
	}
	stop()
}

// Stop before Run ends Run at once.
func TestLoopStopBeforeRun(t *testing.T) { eachBackend(t, stopBeforeRun) }

func stopBeforeRun(r *rig) {
	r.l.Stop()
	r.l.Stop()
	if err := r.l.Run(); err != nil {
		r.Errorf("Run = %v", err)
	}
}

// Stop from another goroutine ends a sleeping loop.
func TestLoopStopAsleep(t *testing.T) { eachBackend(t, stopAsleep) }

func stopAsleep(r *rig) {
	for range 20 {
		r.use(Config{})
		stop := r.run()
		asleep := make(chan struct{})
		r.l.Post(func() { close(asleep) })
		<-asleep // nearly: the turn of this function still has to end
		stop()
	}
}

// Stop in a callback ends the loop after the turn.
func TestLoopStopInside(t *testing.T) { eachBackend(t, stopInside) }

func stopInside(r *rig) {
	_, p := r.unix()
	r.onData = func(c *Conn, b []byte) int {
		c.Write([]byte("last words"))
		r.l.Stop()
		return len(b)
	}
	p.write("x")
	if err := r.l.Run(); err != nil {
		r.Errorf("Run = %v", err)
	}
	if got := string(p.read()); got != "last words" {
		r.Errorf("peer got %q, want what was written before Stop", got)
	}
}

// What was posted is not kept when it has run.
func TestLoopPostedIsReleased(t *testing.T) { eachBackend(t, postedIsReleased) }

func postedIsReleased(r *rig) {
	for range 3 {
		r.l.Post(func() {})
		r.turn()
	}
	for _, fs := range [][]posting{r.l.wake.posted[:cap(r.l.wake.posted)], r.l.wake.spare[:cap(r.l.wake.spare)]} {
		for _, f := range fs {
			if f.run != nil {
				r.Error("a function that has run is still held")
			}
		}
	}
}

// Posts race with Close on purpose. Each post runs, is dropped by the stop, or is
// refused, and none writes to a descriptor that has another owner.
func TestPostDuringClose(t *testing.T) {
	for range 50 {
		l, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for l.Post(func() {}) {
				}
				l.Stop()
			})
		}
		wg.Go(func() {
			l.Run()
			l.Close()
		})
		l.Stop()
		wg.Wait()
	}
}

// What a function owns that is posted while the loop ends is given back once:
// by the function, by Close or by PostOr.
func TestPostOrDuringClose(t *testing.T) {
	for range 50 {
		l, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		var posts, ran, dropped atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for after := 0; after < 3; { // some come after Close
					l.PostOr(func() { ran.Add(1) }, func() { dropped.Add(1) })
					if posts.Add(1); l.closedForPosts() {
						after++
					}
				}
			})
		}
		wg.Go(func() {
			l.Run()
			l.Close()
		})
		l.Stop()
		wg.Wait()
		if posts.Load() != ran.Load()+dropped.Load() || dropped.Load() == 0 {
			t.Fatalf("%d posts: %d ran, %d were dropped", posts.Load(), ran.Load(), dropped.Load())
		}
	}
}

// closedForPosts reports whether Close refuses posts already.
func (l *Loop) closedForPosts() bool {
	l.wake.mu.Lock()
	defer l.wake.mu.Unlock()
	return l.wake.closed
}

// A function that the loop has taken and not run when it ends is dropped as well.
func TestLoopPostOrTaken(t *testing.T) { eachBackend(t, postOrTaken) }

func postOrTaken(r *rig) {
	var order []string
	r.l.PostOr(func() { order = append(order, "ran") }, func() { order = append(order, "wrong") })
	r.turn()
	r.l.posted = append(r.l.posted, posting{func() {}, func() { order = append(order, "taken") }})
	r.l.Post(func() { order = append(order, "wrong") })
	r.l.PostOr(func() {}, func() { order = append(order, "posted") })
	r.l.Close()
	r.l.PostOr(func() {}, func() { order = append(order, "after") })
	if want := []string{"ran", "taken", "posted", "after"}; !slices.Equal(order, want) {
		r.Errorf("%v, want %v", order, want)
	}
}

// A wake-up that is interrupted, or fails, is repeated: whoever posted a function
// does not learn of it and will not call again.
func TestWakeUpIsRepeated(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EINTR, unix.EBADF} {
		r := foundRig(t)
		failures, made := 3, 0
		r.l.wake.write = func(fd int) unix.Errno {
			if failures--; failures >= 0 {
				return errno
			}
			made++
			return addOne(fd)
		}
		ran := 0
		r.l.Post(func() { ran++ })
		if made != 1 { // the turns of a test do not sleep, and would run it all the same
			t.Errorf("%v: a post has woken the loop %d times, want once", errno, made)
		}
		r.until("the function", func() bool { return ran == 1 })
	}
}

// A wake-up that never succeeds leaves what was posted to the next turn, and
// every later post tries again.
func TestWakeUpFails(t *testing.T) {
	r := foundRig(t)
	asked := 0
	r.l.wake.write = func(int) unix.Errno { asked++; return unix.EPERM }
	ran := 0
	for want := 2; want < 8; want += 2 {
		for i := range 2 {
			before := asked
			r.l.Post(func() { ran++ })
			if asked == before {
				t.Errorf("post %d before a turn does not try to wake the loop", i+1)
			}
		}
		r.turn()
		if ran != want {
			t.Errorf("%d functions have run, want %d", ran, want)
		}
	}
}
