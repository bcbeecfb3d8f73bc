// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// patience is how long a test waits for the kernel before it fails, in ms.
const patience = 10_000

// A pair is a connection. The server's end is the one that is handed over.
type pair struct {
	client, server int
	sent           int // by a flight, in bytes
}

func (p *pair) close() {
	p.client, p.server = shut(p.client), shut(p.server)
}

// release is what the end of the old process does to a connection.
func (p *pair) release() { p.server = shut(p.server) }

// A form is a kind of connection.
type form struct {
	name string
	typ  int
	tcp  bool
}

var forms = []form{
	{"tcp", unix.SOCK_STREAM, true},
	{"unix", unix.SOCK_STREAM, false},
	{"unix seqpacket", unix.SOCK_SEQPACKET, false},
}

func eachForm(t *testing.T, run func(t *testing.T, f form)) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) { run(t, f) })
	}
}

// pairs connects n clients through a listener, as the product does.
func (f form) pairs(t *testing.T, n int) []*pair {
	t.Helper()
	domain, at := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if !f.tcp {
		dir, err := os.MkdirTemp("", "handover") // t.TempDir may be too long for an address
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		domain, at = unix.AF_UNIX, &unix.SockaddrUnix{Name: filepath.Join(dir, "s")}
	}
	l := get(unix.Socket(domain, f.typ|unix.SOCK_CLOEXEC, 0))
	defer unix.Close(l)
	must(unix.Bind(l, at))
	must(unix.Listen(l, 16))
	at = get(unix.Getsockname(l))
	list := make([]*pair, n)
	for i := range list {
		c := get(unix.Socket(domain, f.typ|unix.SOCK_CLOEXEC, 0))
		must(unix.Connect(c, at))
		s, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		must(err)
		list[i] = &pair{client: c, server: s}
		t.Cleanup(list[i].close)
	}
	return list
}

func servers(list []*pair) []int {
	fds := make([]int, len(list))
	for i, p := range list {
		fds[i] = p.server
	}
	return fds
}

func cookies(t *testing.T, fds []int) []uint64 {
	t.Helper()
	list := make([]uint64, len(fds))
	for i, fd := range fds {
		var err error
		if list[i], err = Cookie(fd); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// newQueue returns a queue that ends with the test.
func newQueue(t *testing.T) *Queue {
	t.Helper()
	q, err := NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

// fill fills q with the servers' ends and ends the old process: only the queue has them.
func fill(t *testing.T, q *Queue, records string, list []*pair) {
	t.Helper()
	r, err := q.Fill(Header{}, []byte(records), servers(list))
	if err != nil || r.Sent != len(list) || len(r.Unsent) > 0 || !r.Complete {
		t.Fatalf("Fill = %+v, %v; want %d sent", r, err, len(list))
	}
	end(q, list)
}

func end(q *Queue, list []*pair) {
	q.writer = shut(q.writer)
	for _, p := range list {
		p.release()
	}
}

// mustPeek peeks at the queue of which fd is the reader's end.
func mustPeek(t *testing.T, fd int) *Parcel {
	t.Helper()
	p, err := Peek(fd)
	if err != nil {
		t.Fatalf("Peek = %v", err)
	}
	t.Cleanup(p.Discard)
	return p
}

// adopt peeks at q's queue and commits.
func adopt(t *testing.T, q *Queue) *Parcel {
	t.Helper()
	p := mustPeek(t, q.reader)
	q.reader = -1 // the parcel's
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	return p
}

// await waits for one of events on fd, and returns what holds.
func await(t *testing.T, fd int, events int16) int16 {
	t.Helper()
	p := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(p, patience)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			t.Fatalf("waited for events %#x of descriptor %d: %v", events, fd, err)
		}
		return p[0].Revents
	}
}

func write(t *testing.T, fd int, s string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(s)); n != len(s) || err != nil {
		t.Fatalf("write = %d, %v", n, err)
	}
}

// read reads until n bytes have come, and returns what ended it earlier: io.EOF or an
// errno.
func read(t *testing.T, fd, n int) (string, error) {
	t.Helper()
	b := make([]byte, n)
	for got := 0; got < n; {
		await(t, fd, unix.POLLIN)
		more, err := unix.Read(fd, b[got:])
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err == nil && more == 0 {
			err = io.EOF
		}
		if err != nil {
			return string(b[:got]), err
		}
		got += more
	}
	return string(b), nil
}

// wantBytes fails unless s comes next from fd.
func wantBytes(t *testing.T, fd int, s string) {
	t.Helper()
	if got, err := read(t, fd, len(s)); got != s || err != nil {
		t.Fatalf("read %q, %v; want %q", got, err, s)
	}
}

// wantEnd fails unless want, io.EOF or an errno, comes next from fd.
func wantEnd(t *testing.T, fd int, want error) {
	t.Helper()
	if got, err := read(t, fd, 1); got != "" || err != want {
		t.Fatalf("read %q, %v; want %v", got, err, want)
	}
}

// wantAlive sends a byte in each direction.
func wantAlive(t *testing.T, client, server int) {
	t.Helper()
	write(t, client, "?")
	wantBytes(t, server, "?")
	write(t, server, "!")
	wantBytes(t, client, "!")
}

// wantNothing fails if fd has anything to say.
func wantNothing(t *testing.T, fd int) {
	t.Helper()
	var b [1]byte
	if n, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT|unix.MSG_PEEK); err != unix.EAGAIN {
		t.Fatalf("recv = %d, %v; want EAGAIN", n, err)
	}
}
