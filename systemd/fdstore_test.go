// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

// manager returns a Notifier and a manager with a store for most descriptors.
func manager(t *testing.T, most int) (*Notifier, *sdtest.Manager) {
	t.Helper()
	m, err := sdtest.ListenManager(filepath.Join(sdtest.ShortDir(t), "notify"), most)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("NOTIFY_SOCKET", m.Path)
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n, m
}

// A queue is a socket pair, whose reader's end is to be stored. An end that has been
// closed is -1.
type queue struct{ reader, writer int }

func newQueue(t *testing.T) *queue {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	q := &queue{p[0], p[1]}
	t.Cleanup(func() {
		closeEnd(&q.reader)
		closeEnd(&q.writer)
	})
	return q
}

func closeEnd(fd *int) {
	if *fd >= 0 {
		unix.Close(*fd)
	}
	*fd = -1
}

// refused tells whether nobody but us holds the reader's end, which is closed.
func (q *queue) refused(t *testing.T) bool {
	t.Helper()
	closeEnd(&q.reader)
	fds := []unix.PollFd{{Fd: int32(q.writer)}}
	if _, err := unix.Poll(fds, 0); err != nil && err != unix.EINTR { // the latter: nothing holds
		t.Fatal(err)
	}
	return fds[0].Revents&unix.POLLHUP != 0
}

// TestStoreMessages: one datagram each, byte for byte, with the descriptor itself.
func TestStoreMessages(t *testing.T) {
	n, s := notifier(t)
	q := newQueue(t)
	tests := []struct {
		name string
		send func() error
		want string
		fds  int
	}{
		{"store", func() error { return n.Store("test.queue", q.reader) }, "FDSTORE=1\nFDNAME=test.queue\nFDPOLL=0", 1},
		{"forget", func() error { return n.Forget("test.queue") }, "FDSTOREREMOVE=1\nFDNAME=test.queue", 0},
		{"ready, forget", func() error { return n.ReadyForget("2 kept\nFDNAME=x", "test.queue") }, "READY=1\nFDSTOREREMOVE=1\nFDNAME=test.queue\nSTATUS=2 kept FDNAME=x", 0},
		{"no status", func() error { return n.ReadyForget("", "test.queue") }, "READY=1\nFDSTOREREMOVE=1\nFDNAME=test.queue", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.send(); err != nil {
				t.Fatal(err)
			}
			m := recv(t, s)
			defer m.Close()
			if m.Text != tt.want || len(m.FDs) != tt.fds {
				t.Fatalf("got %q with %d descriptors, want %q with %d", m.Text, len(m.FDs), tt.want, tt.fds)
			}
			if tt.fds > 0 && inode(t, m.FDs[0]) != inode(t, q.reader) {
				t.Error("another descriptor came, or the caller's own is closed")
			}
		})
	}
}

func inode(t *testing.T, fd int) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

// TestStoreNames: a name that the service manager would ignore is refused, and
// nothing is sent.
func TestStoreNames(t *testing.T) {
	n, s := notifier(t)
	tests := []struct {
		name, in string
		ok       bool
	}{
		{"with a dot", "penstock.queue", true},
		{"one byte", "q", true},
		{"255 bytes", strings.Repeat("x", 255), true},
		{"256 bytes", strings.Repeat("x", 256), false},
		{"empty", "", false},
		{"a colon ends a name in LISTEN_FDNAMES", "a:b", false},
		{"a newline begins an assignment", "a\nREADY=1", false},
		{"control character", "a\x7f", false},
		{"zero byte", "a\x00", false},
		{"not ASCII", "ü", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for what, send := range map[string]func() error{
				"Store":       func() error { return n.Store(tt.in, 0) },
				"Forget":      func() error { return n.Forget(tt.in) },
				"ReadyForget": func() error { return n.ReadyForget("", tt.in) },
			} {
				if err := send(); (err == nil) != tt.ok {
					t.Errorf("%s(%.20q) = %v", what, tt.in, err)
				}
			}
			if got := drain(t, s); (len(got) == 3) != tt.ok || !tt.ok && got != nil {
				t.Errorf("sent %q", got)
			}
		})
	}
}

// TestStoreNobody: without a service manager a removal succeeds, since there is
// nothing, but nothing has been stored.
func TestStoreNobody(t *testing.T) {
	var n *Notifier
	if err := n.Store("test.queue", 0); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Store() = %v, want %v", err, errors.ErrUnsupported)
	}
	if err := errors.Join(n.Forget("test.queue"), n.ReadyForget("", "test.queue")); err != nil {
		t.Error(err)
	}
}

// TestStoreFull: the service manager says nothing when it refuses. After a barrier the
// hang-up tells.
func TestStoreFull(t *testing.T) {
	for _, room := range []int{0, 1} {
		t.Run(strconv.Itoa(room), func(t *testing.T) {
			n, m := manager(t, room)
			var queues []*queue
			for i := range room + 1 {
				q := newQueue(t)
				if err := n.Store("test."+strconv.Itoa(i), q.reader); err != nil {
					t.Fatal(err)
				}
				queues = append(queues, q)
			}
			if err := n.Barrier(patient); err != nil {
				t.Fatal(err)
			}
			for i, q := range queues {
				if got, want := q.refused(t), i >= room; got != want {
					t.Errorf("descriptor %d refused: %v, want %v", i, got, want)
				}
			}
			if got := m.Names(); len(got) != room {
				t.Errorf("the store has %q", got)
			}
		})
	}
}

// TestStoreKeepsAfterOurEnd: at the end of the process the writer's end is closed, and
// that must not empty the store.
func TestStoreKeepsAfterOurEnd(t *testing.T) {
	n, m := manager(t, 1)
	q := newQueue(t)
	if err := errors.Join(n.Store("test.queue", q.reader), n.Barrier(patient)); err != nil {
		t.Fatal(err)
	}
	closeEnd(&q.reader)
	closeEnd(&q.writer)
	if diff := cmp.Diff([]string{"test.queue"}, m.Names()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := errors.Join(n.ReadyForget("", "test.queue"), n.Barrier(patient)); err != nil {
		t.Fatal(err)
	}
	if got := m.Names(); got != nil {
		t.Errorf("after its removal the store has %q", got)
	}
}

// TestStoreNoRoom: while the service manager does not read, nothing is stored, and
// the caller hears so after a while.
func TestStoreNoRoom(t *testing.T) {
	n, s := notifier(t)
	if _, err := s.Fill(); err != nil {
		t.Fatal(err)
	}
	q := newQueue(t)
	if err := n.Store("test.queue", q.reader); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("Store() = %v, want %v", err, unix.EAGAIN)
	}
	if got := drain(t, s); got != nil || !q.refused(t) {
		t.Errorf("sent %q, or something holds the descriptor", got)
	}
}

// TestBarrierNotSent: when the message cannot be sent, the pipe of the barrier hangs up
// as it does when the service manager has read it. It must not be taken for that.
func TestBarrierNotSent(t *testing.T) {
	n, s := notifier(t)
	s.Close()
	os.Remove(s.Path)
	q := newQueue(t)
	if err := n.Barrier(patient); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("with nobody there: Barrier() = %v, want %v", err, unix.ECONNREFUSED)
	}
	if err := n.Store("test.queue", q.reader); err == nil {
		t.Error("with nobody there: Store() reports no error")
	}
	n.Close()
	if err := n.Barrier(patient); !errors.Is(err, unix.EBADF) {
		t.Errorf("after Close: Barrier() = %v, want %v", err, unix.EBADF)
	}
}

// TestStoreTooManyInFlight: descriptors that lie unread in some queue of the same user
// count, and then neither FDSTORE=1 nor BARRIER=1 can be sent (unix(7), ETOOMANYREFS).
func TestStoreTooManyInFlight(t *testing.T) {
	n, m := manager(t, 1)
	q := newQueue(t)
	var storing, waiting, forgetting error
	err := withoutPrivilege(func() error {
		if err := crowd(t, q.writer); err != nil {
			return err
		}
		storing, waiting = n.Store("test.queue", q.reader), n.Barrier(patient)
		forgetting = n.Forget("test.queue")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Store": storing, "Barrier": waiting} {
		if !errors.Is(err, unix.ETOOMANYREFS) {
			t.Errorf("%s() = %v, want %v", what, err, unix.ETOOMANYREFS)
		}
	}
	if forgetting != nil {
		t.Errorf("a message without descriptors: %v", forgetting)
	}
	if got := m.Names(); got != nil {
		t.Errorf("the store has %q", got)
	}
}

// withoutPrivilege calls f on a thread that has no capabilities, which ends with it.
// The kernel bounds what is in flight only for such threads.
func withoutPrivilege(f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- os.NewSyscallError("capset", err)
			return
		}
		result <- f()
	}()
	return <-result
}

// crowd lowers the limit of open files until the end of the test, and queues
// descriptors at fd until the kernel takes no more.
func crowd(t *testing.T, fd int) error {
	var before unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		return os.NewSyscallError("prlimit", err)
	}
	lowered := unix.Rlimit{Cur: 256, Max: before.Max}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &lowered, nil); err != nil {
		return os.NewSyscallError("prlimit", err)
	}
	t.Cleanup(func() { unix.Prlimit(0, unix.RLIMIT_NOFILE, &before, nil) })
	many := make([]int, 200)
	for i := range many {
		many[i] = fd
	}
	for range 10 {
		err := unix.Sendmsg(fd, []byte("x"), unix.UnixRights(many...), nil, unix.MSG_DONTWAIT)
		if err == unix.ETOOMANYREFS {
			return nil
		}
		if err != nil {
			return os.NewSyscallError("sendmsg", err)
		}
	}
	return errors.New("2000 descriptors are in flight, and the kernel takes more")
}

// TestStoreWaits: a service manager that reads late gets the message all the same.
func TestStoreWaits(t *testing.T) {
	n, s := notifier(t)
	if _, err := s.Fill(); err != nil {
		t.Fatal(err)
	}
	q := newQueue(t)
	done := make(chan error, 1)
	go func() { done <- n.Store("test.queue", q.reader) }()
	if _, err := s.WaitFor("FDSTORE=1", patient); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
