// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/evloop"
	"penstock/systemd"
)

// A manager holds a listening socket and starts a daemon for whoever comes, as
// systemd does.
type manager struct {
	path string
	fd   int
}

func newManager(t *testing.T) *manager {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	m := &manager{filepath.Join(t.TempDir(), "sock"), fd}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: m.path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 64); err != nil {
		t.Fatal(err)
	}
	return m
}

// activate makes a daemon that serves echo on the socket and leaves after idle.
func (m *manager) activate(t *testing.T, idle time.Duration, ready func()) *Daemon {
	t.Helper()
	return m.start(t, idle, ready, m.inherited(t))
}

// dup is the listener as a process gets it.
func (m *manager) dup(t *testing.T) int {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(m.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// inherited is what a process gets from the manager.
func (m *manager) inherited(t *testing.T) systemd.Inherited {
	t.Helper()
	sock := systemd.Socket{FD: m.dup(t), Name: "echo", Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, Addr: m.path}
	return systemd.Inherited{Activated: true, Sockets: []systemd.Socket{sock}}
}

// start is activate with what the process gets.
func (m *manager) start(t *testing.T, idle time.Duration, ready func(), in systemd.Inherited) *Daemon {
	t.Helper()
	cfg := parse(t, fmt.Sprintf("[service.echo]\nkind='echo'\nlisten=['%s']\n", m.path))
	cfg.Limits.ExitIdle = idle // below what a file may say: tests are in a hurry
	d, err := New(cfg, Env{Log: slog.New(slog.DiscardHandler), Managed: true, Ready: ready, Inherited: in})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// run is activate on a goroutine of its own.
func (m *manager) run(t *testing.T, idle time.Duration) *running {
	t.Helper()
	ready := make(chan struct{})
	d := m.activate(t, idle, func() { close(ready) })
	r := run(t, d)
	<-ready
	return r
}

// TestExitIdleLosesNobody: clients come at random moments of a process that
// leaves after a millisecond, also while it leaves. Each is answered, by it or
// by the next one.
func TestExitIdleLosesNobody(t *testing.T) {
	m := newManager(t)
	const clients, each, ends = 4, 60, 10 // on a slow machine there is always a client; go on until some processes have left
	var starts atomic.Int64
	over := make(chan struct{})
	var wg sync.WaitGroup
	for seed := range uint64(clients) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			for i := 0; i < each || i < 100*each && starts.Load() < ends; i++ {
				// Not to synchronise with anything: to hit every moment.
				<-time.After(time.Duration(rng.IntN(4000)) * time.Microsecond)
				line := fmt.Sprintf("%d of %d\n", i, seed)
				if got, err := ask(m.path, line); got != line {
					t.Errorf("answer %q, %v, want %q", got, err, line)
				}
			}
		})
	}
	go func() {
		wg.Wait()
		close(over)
	}()
	for fds := []unix.PollFd{{Fd: int32(m.fd), Events: unix.POLLIN}}; ; {
		select {
		case <-over:
			t.Logf("%d processes for %d clients or more", starts.Load(), clients*each)
			if n := starts.Load(); n < ends {
				t.Errorf("only %d processes: too few ends to have hit one", n)
			}
			return
		default:
		}
		if n, _ := unix.Poll(fds, 10); n <= 0 {
			continue
		}
		starts.Add(1)
		if err := m.activate(t, time.Millisecond, nil).Run(); err != nil {
			t.Fatalf("Run = %v, want nil after exit_idle", err)
		}
	}
}

// TestExitIdleSeesWhoWaits: a client that is in the backlog when the time is
// over, here since the listener is paused, keeps the process; and it is not
// taken out of there before somebody serves it.
func TestExitIdleSeesWhoWaits(t *testing.T) {
	m := newManager(t)
	r := m.run(t, time.Hour)
	r.do(func() { r.listeners()[0].pause() })
	c, err := net.Dial("unix", m.path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var after phase
	r.do(func() {
		r.exitIfIdle()
		after = r.life.phase
		r.listeners()[0].resume()
	})
	if after != ready {
		t.Fatalf("%v although a client waits", after)
	}
	if _, err := io.WriteString(c, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatalf("the client that waited: %v", err)
	}
	_ = c.Close()
	r.stop(t)
}

// TestExitIdleBusy walks over what keeps a process that was told it is idle.
func TestExitIdleBusy(t *testing.T) {
	for name, tt := range map[string]struct {
		busy func(d *Daemon)
		end  bool
	}{
		"nobody is there":      {func(*Daemon) {}, true},
		"a client":             {func(d *Daemon) { d.endpoints["echo"].conns = 1 }, false},
		"a reload":             {func(d *Daemon) { d.life.phase = reloading }, false},
		"told to stop already": {func(d *Daemon) { d.life.phase = stopping }, false},
		"a listener that the loop did not take": {func(d *Daemon) {
			l := d.endpoints["echo"].listeners[0]
			l.ln.Close()
			l.ln, l.FD = nil, -1
		}, true},
		"a program has not read what is for it": {func(d *Daemon) { stuffPipe(t, d) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManager(t)
			d := m.activate(t, time.Hour, nil)
			d.armAll(d.endpoints["echo"])
			d.life.phase = ready
			tt.busy(d)
			was := d.life.phase
			d.exitIfIdle()
			if ended := was == ready && d.life.phase == stopping; ended != tt.end {
				t.Errorf("ended %t, want %t", ended, tt.end)
			}
			for _, ep := range d.all() {
				ep.conns = 0
			}
			d.release()
		})
	}
}

// stuffPipe leaves output queued on a connection that is no client's, as the
// input of a handler's program is.
func stuffPipe(t *testing.T, d *Daemon) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(p[0]) })
	c, err := d.loop.Add(p[1], input{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Write(make([]byte, 1<<20))
}

// input is what the loop wants of the owner of a connection.
type input struct{}

func (input) Open(*evloop.Conn)                 {}
func (input) Data(_ *evloop.Conn, p []byte) int { return len(p) }
func (input) EOF(*evloop.Conn)                  {}
func (input) Drained(*evloop.Conn)              {}
func (input) Closed(_ *evloop.Conn, _ error)    {}

// TestExitIdleStrays: a process that was handed a socket of no service, or what
// is no listening socket, stays: its manager would start it again at once for
// who waits there.
func TestExitIdleStrays(t *testing.T) {
	for name, add := range map[string]func(*systemd.Inherited){
		"nothing else": func(*systemd.Inherited) {},
		"a socket of no service": func(in *systemd.Inherited) {
			in.Sockets = append(in.Sockets, systemd.Socket{FD: newManager(t).dup(t), Name: "nobody", Addr: "/nobody"})
		},
		"what is no listener": func(in *systemd.Inherited) {
			in.Rejected = append(in.Rejected, systemd.Rejected{Name: "fifo", Reason: "not a socket"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newManager(t)
			in := m.inherited(t)
			add(&in)
			d := m.start(t, time.Hour, nil, in)
			d.life.phase = ready
			d.rested()
			if got, want := d.loop.Stats().Timers, len(in.Sockets)+len(in.Rejected) == 1; got == 1 != want {
				t.Errorf("%d timers, want one: %t", got, want)
			}
			d.release()
		})
	}
}

// TestExitIdleTimer: the time begins at READY, for a client may have left
// before; it is not measured where the option is off, or where the process has
// opened its sockets itself and would just be gone.
func TestExitIdleTimer(t *testing.T) {
	armed := func(r *running) (n int) {
		r.do(func() { n = r.loop.Stats().Timers })
		return n
	}
	for _, tt := range []struct {
		idle time.Duration
		want int
	}{{time.Hour, 1}, {0, 0}} {
		r := newManager(t).run(t, tt.idle)
		if got := armed(r); got != tt.want {
			t.Errorf("exit_idle %v: %d timers after the start, want %d", tt.idle, got, tt.want)
		}
		r.stop(t)
	}
	for start, want := range map[string]int{"boot": 0, "client": 1} {
		m := newManager(t)
		d := m.start(t, time.Hour, nil, m.inherited(t))
		d.cfg.Services[0].Start = config.Start(start)
		d.life.phase = ready
		d.rested()
		if got := d.loop.Stats().Timers; got != want {
			t.Errorf("start = %q: %d timers, want %d", start, got, want)
		}
		d.release()
	}
	cfg := parse(t, fmt.Sprintf("[limits]\nexit_idle='1h'\n[service.echo]\nkind='echo'\nlisten=['%s/s']\n", t.TempDir()))
	r := runDaemon(t, cfg)
	if got := armed(r); got != 0 {
		t.Errorf("%d timers in a process started by hand, want 0", got)
	}
	r.stop(t)
}
