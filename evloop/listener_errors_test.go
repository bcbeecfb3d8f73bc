// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// exhaust takes all descriptors but left, until it is told to give them back.
func exhaust(t *testing.T, left int) (release func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	low := was
	low.Cur = 256 // nothing above is handed out; what is open above stays
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var taken []int
	for {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if errors.Is(err, unix.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, fd)
	}
	for _, fd := range taken[:left] {
		unix.Close(fd)
	}
	taken = taken[left:]
	release = func() {
		for _, fd := range taken {
			unix.Close(fd)
		}
		taken = nil
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(release)
	return release
}

// Short of descriptors, a connection that closes lets the next in.
func TestLoopEMFILEThenClose(t *testing.T) { eachBackend(t, emfileThenClose) }

// Three clients wait, there is a descriptor for one. Nobody else connects, so
// no edge will ever come again.
func emfileThenClose(r *rig) {
	ln, d := r.listen(8)
	for range 3 {
		dial(r.T, ln.FD()).write("hello")
	}
	release := exhaust(r.T, 1)
	defer release()
	r.connected(1)
	r.spin("an error", func() bool { return r.l.Stats().AcceptErrors > 0 })
	if len(d.failed) != 1 || !errors.Is(d.failed[0], unix.EMFILE) || ln.Dead() {
		r.Fatalf("Failed(%v), dead %t; want EMFILE once", d.failed, ln.Dead())
	}
	if r.l.Stats().Accepted != 1 {
		r.Fatalf("%d accepted with one descriptor left", r.l.Stats().Accepted)
	}
	for want := uint64(2); want <= 3; want++ {
		var c *Conn
		for c = range r.l.Conns() {
		}
		r.do(func() { c.Abort(nil) })
		// Far sooner than the back-off: within the turns that the close takes.
		for range 3 {
			r.turn()
		}
		if got := r.l.Stats().Accepted; got != want {
			r.Fatalf("%d accepted after a descriptor became free, want %d", got, want)
		}
	}
	r.spin("its input", func() bool {
		for c := range r.l.Conns() {
			return string(r.of(c).got) == "hello"
		}
		return false
	})
}

// Short of descriptors, the next is let in without a further event.
func TestLoopEMFILEThenTimer(t *testing.T) { eachBackend(t, emfileThenTimer) }

func emfileThenTimer(r *rig) {
	ln, d := r.listen(8)
	for range 3 {
		dial(r.T, ln.FD())
	}
	release := exhaust(r.T, 0)
	defer release()
	// Several rounds of back-off: it doubles, and the spell is told of once.
	r.until("rounds of back-off", func() bool { return r.l.Stats().AcceptErrors >= 4 })
	if len(d.failed) != 1 {
		r.Errorf("Failed %d times in one spell, want once", len(d.failed))
	}
	if ln.delay < 4*retryFirst || ln.delay > retryMost {
		r.Errorf("waits %v after 4 rounds", ln.delay)
	}
	release()
	r.connected(3)
	if ln.delay != 0 {
		r.Errorf("waits %v after success, want the next spell to start afresh", ln.delay)
	}
}

// acceptErrors is a kernel that fails to accept a number of times.
func acceptErrors(t *testing.T, errno unix.Errno, times int) (r *rig, calls *int) {
	t.Helper()
	calls = new(int)
	r = newSeamRig(t, func(s *simulation) {
		accept := s.accept
		s.accept = func(fd int) (int, netip.AddrPort, unix.Errno) {
			if *calls++; *calls <= times {
				return -1, netip.AddrPort{}, errno
			}
			return accept(fd)
		}
	})
	return r, calls
}

// Errors of one client in the backlog say nothing about the next: accept(2)
// wants them treated like EAGAIN, but edge-triggered that would be a stall.
func TestAcceptErrorsOfClients(t *testing.T) {
	for _, errno := range []unix.Errno{
		unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET,
		unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.EPERM, unix.ETIMEDOUT, unix.EINTR,
	} {
		t.Run(errno.Error(), func(t *testing.T) {
			r, calls := acceptErrors(t, errno, 2)
			ln, d := r.listen(8)
			dial(t, ln.FD())
			arrives(t, ln.FD(), unix.POLLIN)
			r.turn()
			if r.l.Stats().Conns != 1 || len(d.failed) != 0 || ln.Dead() {
				t.Errorf("%d connections after %d calls, Failed(%v), dead %t; want 1 in the same turn",
					r.l.Stats().Conns, *calls, d.failed, ln.Dead())
			}
		})
	}
}

func TestAcceptErrorsOfSystem(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM} {
		t.Run(errno.Error(), func(t *testing.T) {
			r, _ := acceptErrors(t, errno, 3)
			ln, d := r.listen(8)
			dial(t, ln.FD())
			began := monotonic()
			r.connected(1)
			if waited := monotonic().Sub(began); waited < retryFirst+2*retryFirst+4*retryFirst {
				t.Errorf("3 errors within %v, want the back-off to double from %v", waited, retryFirst)
			}
			if len(d.failed) != 1 || !errors.Is(d.failed[0], errno) {
				t.Errorf("Failed(%v), want %v once", d.failed, errno)
			}
		})
	}
}

// A client that epoll has no room for is turned away, and the listener backs
// off as if descriptors were short.
func TestAcceptWithoutWatches(t *testing.T) {
	left := 3
	r := newSeamRig(t, func(s *simulation) {
		ctl := s.epollCtl
		s.epollCtl = func(op, fd int, events uint32, data token) error {
			if data.source() == sourceConn && left > 0 {
				left--
				return unix.ENOSPC
			}
			return ctl(op, fd, events, data)
		}
	})
	ln, d := r.listen(8)
	var peers []*peer
	for range 4 {
		peers = append(peers, dial(t, ln.FD()))
	}
	r.connected(1)
	if len(d.failed) != 1 || !errors.Is(d.failed[0], unix.ENOSPC) {
		t.Errorf("Failed(%v), want ENOSPC once", d.failed)
	}
	for _, p := range peers[:3] {
		if _, err := p.receive(); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("a client without a place: %v, want ECONNRESET", err)
		}
	}
}

// Whatever the limit of descriptors, some are kept for everything else.
func TestDefaultLimit(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &was)
	for _, tt := range []struct {
		nofile uint64
		want   int
	}{{1000, 1000 - headroom}, {headroom + 5, 5}, {headroom, 1}} {
		r := was
		r.Cur = tt.nofile
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
			t.Fatal(err)
		}
		if l := openLoop(t); l.limit != tt.want {
			t.Errorf("RLIMIT_NOFILE %d: at most %d connections, want %d", tt.nofile, l.limit, tt.want)
		}
	}
}

// An error of one client that every client has, such as a firewall's, backs off:
// asked at once each time, the loop would spin for as long as that lasts.
func TestAcceptErrorsThatLast(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EPERM, unix.EOPNOTSUPP, unix.ECONNABORTED} {
		t.Run(errno.Error(), func(t *testing.T) {
			const times = 5 * acceptBatch
			r, calls := acceptErrors(t, errno, times)
			ln, d := r.listen(8)
			dial(t, ln.FD())
			arrives(t, ln.FD(), unix.POLLIN)
			for range 20 {
				r.turn()
			}
			if *calls > 2*acceptBatch || ln.retry.IsZero() {
				t.Errorf("%d calls in 20 turns, want a batch and a pause", *calls)
			}
			r.connected(1)
			if len(d.failed) != 1 || !errors.Is(d.failed[0], errno) || ln.Dead() {
				t.Errorf("Failed(%v), dead %t; want %v once", d.failed, ln.Dead(), errno)
			}
			if got := r.l.Stats().AcceptErrors; got != times {
				t.Errorf("%d errors counted of %d", got, times)
			}
		})
	}
}
