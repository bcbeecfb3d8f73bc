// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var window = flag.Duration("window", 2*time.Second, "for how long to measure a load")

const (
	// fairBound is what a load may add to the echo of another service, at the
	// 99th percentile.
	fairBound = 20 * time.Millisecond
	// fairTries: a machine that others use has bad moments, but a turn that is
	// too long is too long every time.
	fairTries = 3
)

// A load is what a scenario puts on one of two daemons.
type load struct {
	name      string
	limits    string
	least     time.Duration // to measure
	configure func(h *host) // nil, or adds to the file
	// prepare brings the daemon to where the load can begin. work is the load,
	// until stop is closed; it says what it has done.
	prepare func(h *host, d *daemon) (work func(stop <-chan struct{}) string)
}

// TestFair: what one service does is not felt by the clients of another. Two
// daemons alike run side by side, one of them under the load. The echo of both
// is probed while it lasts, so that what the load and other programs take from
// the machine is in both results; what is left between them is the daemon's.
//
// The kernel prefers a process that mostly sleeps: of two that want a processor
// the idle daemon gets it first, and on a machine that others use the loaded one
// would wait for five seconds while it runs for half of one. So both daemons and
// the probe run before everything else, the load included.
func TestFair(t *testing.T) {
	need(t)
	for _, backend := range []string{"epoll", "io_uring"} {
		t.Run(backend, func(t *testing.T) {
			for _, l := range loads {
				t.Run(l.name, func(t *testing.T) { l.fair(t, backend) })
			}
		})
	}
}

func (l load) fair(t *testing.T, backend string) {
	for try := range fairTries {
		loaded, idle := l.host(t, backend), l.host(t, backend)
		busy, quiet := loaded.start(), idle.start()
		if len(busy.log("falls back to epoll")) > 0 {
			t.Skip("no io_uring here")
		}
		work := l.prepare(loaded, busy)
		ran, waited := busy.schedstat()
		var did string
		found := probe(t, max(*window, l.least), []net.Addr{loaded.at["echo"], idle.at["echo"]},
			func(ended <-chan struct{}) { did = work(ended) })
		ran2, waited2 := busy.schedstat()
		more := found[0].p99 - found[1].p99
		t.Logf("%s\nloaded  %v (ran %v, waited %v for a processor)\nidle    %v", did, found[0],
			(ran2 - ran).Round(time.Millisecond), (waited2 - waited).Round(time.Millisecond), found[1])
		for _, d := range []*daemon{busy, quiet} {
			if !d.alive() {
				t.Fatalf("a daemon has ended\n%s", d.all())
			}
			d.kill()
		}
		switch {
		case t.Failed():
			return
		case more <= fairBound:
			return
		case try == fairTries-1:
			t.Errorf("the load adds %v to the p99 of another service", more)
		}
	}
}

// host makes what a daemon needs. Both get the same.
func (l load) host(t *testing.T, backend string) *host {
	h := newHost(t, backend, l.limits)
	h.env = append(h.env, aheadEnv+"=yes")
	h.edit(`level = "debug"`, `level = "info"`) // as it is by default
	if l.configure != nil {
		l.configure(h)
	}
	return h
}

// The sizes of the loads.
const (
	members    = 1000
	flooders   = 60
	receivers  = 4000
	relayed    = 16 // connections
	tableBytes = 5 << 20
)

// A crowded room tells everything that it can tell.
const (
	crowdedRoom = "kind = \"room\"\njoin = \"{name} came\"\nleave = \"{name} left\"\n"
	stuckRoom   = "kind = \"room\"\nqueue = \"8KiB\"\n"
	stuckTicker = "kind = \"ticker\"\nqueue = \"8KiB\"\ninterval = \"10ms\"\n"
	manyLimits  = "connections = 8192\n"
	stuckLimits = manyLimits + "memory = \"512KiB\"" // a shared message is charged once
	dropsOldest = "overflow = \"drop-oldest\"\n"
)

// loads are the histories of the promise. Each is a service that does much, on
// behalf of many or for one.
var loads = []load{
	{
		name:      "members churn",
		configure: func(h *host) { h.add("crowd", crowdedRoom) },
		prepare: func(h *host, _ *daemon) func(<-chan struct{}) string {
			c := h.crowd("crowd", members)
			return func(stop <-chan struct{}) string {
				return fmt.Sprintf("%d members left and came again", c.churn(stop))
			}
		},
	},
	{
		name:      "one address floods",
		configure: func(h *host) { h.add("crowd", crowdedRoom) },
		prepare: func(h *host, d *daemon) func(<-chan struct{}) string {
			return h.flooded(d, h.crowd("crowd", members))
		},
	},
	{
		name:      "one address floods itself",
		configure: func(h *host) { h.add("crowd", crowdedRoom) },
		prepare: func(h *host, d *daemon) func(<-chan struct{}) string {
			return h.flooded(d, h.crowd("crowd", 0))
		},
	},
	{
		name:      "members arrive together",
		configure: func(h *host) { h.add("crowd", crowdedRoom) },
		prepare: func(h *host, _ *daemon) func(<-chan struct{}) string {
			return func(stop <-chan struct{}) string {
				n := 0
				for ; open(stop); n++ {
					c := h.crowd("crowd", members)
					c.close()
				}
				return fmt.Sprintf("%d members came together and left, %d times", members, n)
			}
		},
	},
	{
		name:   "a ticker at the memory bound",
		limits: stuckLimits,
		configure: func(h *host) {
			h.add("crowd", stuckTicker+fmt.Sprintf("payload = \"%s\\n\"\n", strings.Repeat("x", 1023)))
		},
		prepare: func(h *host, d *daemon) func(<-chan struct{}) string {
			h.stuck("crowd", receivers)
			d.await("messages dropped.*service=crowd")
			return func(stop <-chan struct{}) string {
				<-stop
				return d.state("crowd")
			}
		},
	},
	{
		name:      "a room at the memory bound",
		limits:    stuckLimits,
		configure: func(h *host) { h.add("crowd", stuckRoom+dropsOldest) },
		prepare: func(h *host, d *daemon) func(<-chan struct{}) string {
			h.stuck("crowd", receivers)
			speaker := h.crowd("crowd", 0)
			speaker.talk()
			d.await("messages dropped.*service=crowd")
			return func(stop <-chan struct{}) string {
				<-stop
				state := d.state("crowd")
				speaker.close()
				return state
			}
		},
	},
	{
		name:      "a room cuts its members",
		least:     6 * time.Second, // it waits for three before
		limits:    manyLimits,
		configure: func(h *host) { h.add("crowd", stuckRoom) },
		prepare: func(h *host, d *daemon) func(<-chan struct{}) string {
			h.stuck("crowd", receivers)
			return func(stop <-chan struct{}) string {
				speaker := h.crowd("crowd", 0)
				speaker.flood(1)
				<-stop
				speaker.close()
				return d.state("crowd")
			}
		},
	},
	{
		name: "a table is reloaded",
		configure: func(h *host) {
			h.table(0)
			h.add("crowd", "kind = \"lookup\"\nfile = \"table.toml\"\n")
		},
		prepare: func(h *host, d *daemon) func(<-chan struct{}) string {
			return func(stop <-chan struct{}) string {
				n := 0
				for open(stop) {
					n++
					h.table(n)
					h.check(d.cmd.Process.Signal(unix.SIGHUP))
					if !d.says(n, "configuration applied") {
						h.t.Fatalf("no reload\n%s", d.all())
					}
				}
				return fmt.Sprintf("%d bytes of answers changed %d times", tableBytes, n)
			}
		},
	},
	{
		name:      "a proxy in bulk",
		configure: func(h *host) { h.addRelay("crowd", discards) },
		prepare: func(h *host, d *daemon) func(<-chan struct{}) string {
			senders := h.crowd("crowd", 0)
			senders.flood(relayed)
			return func(stop <-chan struct{}) string {
				<-stop
				state := d.state("crowd")
				senders.close()
				return state
			}
		},
	},
	{
		name:    "a program starts slowly",
		least:   5200 * time.Millisecond, // a second until it is started again, and four to start
		prepare: slowProgram,
	},
}

// flooded has one address say what it can to those who listen.
func (h *host) flooded(d *daemon, listeners *crowd) func(<-chan struct{}) string {
	speakers := h.crowd("crowd", 0)
	return func(stop <-chan struct{}) string {
		speakers.flood(flooders)
		before := listeners.read.Load()
		<-stop
		state := d.state("crowd")
		speakers.close()
		return state + fmt.Sprintf("\n%d speakers were told %d KiB, %d listeners %d KiB", flooders, speakers.read.Load()>>10,
			len(listeners.conns), (listeners.read.Load()-before)>>10)
	}
}

func discards(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// slowProgram holds the exec of a handler's program, as TestSlowExec does.
func slowProgram(h *host, d *daemon) func(<-chan struct{}) string {
	fd := h.watchExec()
	h.t.Cleanup(func() { _ = unix.Close(fd) })
	return func(stop <-chan struct{}) string {
		h.check(unix.Kill(d.child(), unix.SIGKILL)) // it is started again
		held, since := waitExec(h.t, fd), time.Now()
		asks, err := h.dial("handler")
		h.check(err)
		_, err = asks.Write([]byte("question\n"))
		h.check(err)
		<-stop
		took := time.Since(since)
		allowExec(h.t, fd, held)
		h.check(asks.expect([]byte("question")))
		h.check(asks.Close())
		return fmt.Sprintf("the program took %v to start", took.Round(time.Millisecond))
	}
}

// table writes answers that are not those of another version.
func (h *host) table(version int) {
	h.t.Helper()
	var b strings.Builder
	for i := 0; b.Len() < tableBytes; i++ {
		fmt.Fprintf(&b, "\"question %d\" = \"answer %d, version %d\"\n", i, i, version)
	}
	name := h.path("table.toml")
	h.check(errors.Join(os.WriteFile(name+".new", []byte(b.String()), 0o600), os.Rename(name+".new", name)))
}

// open reports whether c has not been closed.
func open(c <-chan struct{}) bool {
	select {
	case <-c:
		return false
	default:
		return true
	}
}
