// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestHandOver: what is filled in comes out, in order, and the connections live.
func TestHandOver(t *testing.T) {
	eachForm(t, func(t *testing.T, f form) {
		for _, n := range []int{0, 1, batch, batch + 1, 2*batch + 30} {
			q, list := newQueue(t), f.pairs(t, n)
			want := cookies(t, servers(list))
			fill(t, q, "records", list)
			p := adopt(t, q)
			if got := cookies(t, p.FDs); !slices.Equal(got, want) {
				t.Fatalf("%d connections: got %d, or in another order", n, len(got))
			}
			if string(p.Records) != "records" || !p.Complete || p.Missing != 0 || p.Descriptors != n || p.Version != Version {
				t.Errorf("%d connections: parcel %+v, records %q", n, p.Header, p.Records)
			}
			if p.Age < 0 || p.Age > MaxAge {
				t.Errorf("%d connections: age %v", n, p.Age)
			}
			for i, fd := range p.FDs {
				wantAlive(t, list[i].client, fd)
			}
			p.Discard()
		}
	})
}

// TestHeld: the queue sees whether somebody took the reader's end.
func TestHeld(t *testing.T) {
	for _, want := range []bool{true, false} {
		q := newQueue(t)
		if want {
			other := get(unix.FcntlInt(uintptr(q.Reader()), unix.F_DUPFD_CLOEXEC, 0))
			defer unix.Close(other)
		}
		q.Release()
		for range 2 { // asking again is allowed
			if got, err := q.Held(); got != want || err != nil {
				t.Errorf("Held() = %v, %v; want %v", got, err, want)
			}
		}
	}
}

// TestFillRefused: without a reader nothing is handed over, and nothing is lost.
func TestFillRefused(t *testing.T) {
	q, list := newQueue(t), forms[0].pairs(t, 3)
	q.Release()
	if _, err := q.Fill(Header{}, nil, servers(list)); !errors.Is(err, unix.EPIPE) || !strings.Contains(err.Error(), "sendmsg") {
		t.Errorf("Fill = %v, want sendmsg: EPIPE", err)
	}
	for _, p := range list {
		wantAlive(t, p.client, p.server)
	}
}

// TestKeep: the reader's end that Keep returns is open across exec and not closed by
// Close.
func TestKeep(t *testing.T) {
	q, list := newQueue(t), forms[1].pairs(t, 2)
	if flags := get(unix.FcntlInt(uintptr(q.Reader()), unix.F_GETFD, 0)); flags != unix.FD_CLOEXEC {
		t.Errorf("before Keep: flags %#x", flags)
	}
	if r, err := q.Fill(Header{}, nil, servers(list)); err != nil || r.Sent != 2 {
		t.Fatalf("Fill = %+v, %v", r, err)
	}
	fd, err := q.Keep()
	if err != nil {
		t.Fatal(err)
	}
	if flags := get(unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)); flags != 0 {
		t.Errorf("after Keep: flags %#x", flags)
	}
	q.Close()
	p := mustPeek(t, fd)
	if len(p.FDs) != 2 || p.Commit() != nil {
		t.Errorf("%d descriptors", len(p.FDs))
	}
}

// TestFillNamesWhatFails: descriptors that cannot be sent are named, all others are in
// the queue in order, and few messages more than without them are used.
func TestFillNamesWhatFails(t *testing.T) {
	q, list := newQueue(t), forms[1].pairs(t, batch+50)
	fds := servers(list)
	want := cookies(t, fds)
	bad := []int{0, 17, 18, batch - 1, batch + 7}
	for _, i := range slices.Backward(bad) {
		list[i].release()
		fds[i] = -1
		want = slices.Delete(want, i, i+1)
	}
	r, err := q.Fill(Header{}, nil, fds)
	if err != nil || r.Sent != len(want) || !r.Complete {
		t.Fatalf("Fill = %+v, %v; want %d sent", r, err, len(want))
	}
	var named []int
	for _, u := range r.Unsent {
		named = append(named, u.Index)
		if !errors.Is(u.Err, unix.EBADF) || !strings.HasPrefix(u.Err.Error(), "sendmsg: ") {
			t.Errorf("descriptor %d: %v, want sendmsg: EBADF", u.Index, u.Err)
		}
	}
	if !slices.Equal(named, bad) {
		t.Errorf("unsent %v, want %v", named, bad)
	}
	end(q, list)
	p := mustPeek(t, q.reader)
	if got := cookies(t, p.FDs); !slices.Equal(got, want) {
		t.Errorf("%d came, want %d in order", len(got), len(want))
	}
	if p.Descriptors != len(fds) {
		t.Errorf("header says %d descriptors, want %d", p.Descriptors, len(fds))
	}
	if p.messages > 50 {
		t.Errorf("%d messages for %d bad descriptors", p.messages, len(bad))
	}
}

// TestFillFull: a queue that is full takes what fits and its end message.
func TestFillFull(t *testing.T) {
	q, list := newQueue(t), forms[1].pairs(t, 2)
	q.room = 16 << 10
	fds := make([]int, 10_000)
	for i := range fds {
		fds[i] = list[i%2].server
	}
	if softLimit() <= uint64(len(fds)) {
		t.Skipf("the limit of descriptors is %d", softLimit())
	}
	r, err := q.Fill(Header{}, nil, fds)
	if err != nil || !r.Complete || r.Sent+len(r.Unsent) != len(fds) || r.Sent < batch || len(r.Unsent) == 0 {
		t.Fatalf("Fill = %d sent, %d unsent, complete %v, %v", r.Sent, len(r.Unsent), r.Complete, err)
	}
	for i, u := range r.Unsent {
		if u.Index != r.Sent+i || !errors.Is(u.Err, unix.EAGAIN) {
			t.Fatalf("unsent %d: index %d, %v", i, u.Index, u.Err)
		}
	}
	if p := mustPeek(t, q.reader); len(p.FDs) != r.Sent || !p.Complete {
		t.Errorf("%d came, complete %v; want %d", len(p.FDs), p.Complete, r.Sent)
	}
}

// TestFillTooMuch: after an error for the records the queue is as it was.
func TestFillTooMuch(t *testing.T) {
	q, list := newQueue(t), forms[1].pairs(t, 1)
	_, err := q.Fill(Header{}, make([]byte, MaxRecords+1), servers(list))
	if !errors.Is(err, unix.EFBIG) {
		t.Errorf("Fill = %v, want EFBIG", err)
	}
	if _, err := Peek(q.reader); !errors.Is(err, ErrEmpty) {
		t.Errorf("Peek = %v, want %v", err, ErrEmpty)
	}
	fill(t, q, "less", list)
	if p := mustPeek(t, q.reader); string(p.Records) != "less" || len(p.FDs) != 1 {
		t.Errorf("records %q, %d descriptors", p.Records, len(p.FDs))
	}
}

// A manyRefs is what a child that may not have everything on the way says of Fill.
type manyRefs struct {
	Cookies  []uint64 // of all connections
	Unsent   []int
	Errors   []string
	Sent     int
	Complete bool
	Err      string
}

// fillAtLowLimit fills with more than RLIMIT_NOFILE allows. Root has a privilege over
// that limit, so the child becomes somebody else.
func fillAtLowLimit() any {
	if os.Getuid() == 0 {
		must(syscall.Setgroups(nil))
		must(syscall.Setuid(65534))
	}
	q := &Queue{reader: -1, writer: 3, room: 1 << 30}
	spare := make([]int, 8) // numbers below the limit, for the file of records
	for i := range spare {
		spare[i] = get(unix.Eventfd(0, 0))
	}
	var m manyRefs
	var fds []int
	for range 700 {
		ends := get(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0))
		fds = append(fds, ends[0])
		m.Cookies = append(m.Cookies, get(Cookie(ends[0])))
	}
	closeAll(spare)
	setLimit(300, 300)
	r, err := q.Fill(Header{}, []byte("records"), fds)
	if err != nil {
		m.Err = err.Error()
	}
	m.Sent, m.Complete = r.Sent, r.Complete
	for _, u := range r.Unsent {
		m.Unsent = append(m.Unsent, u.Index)
		if !errors.Is(u.Err, unix.ETOOMANYREFS) {
			m.Errors = append(m.Errors, u.Err.Error())
		}
	}
	return m
}

// TestFillTooManyReferences: at the limit of descriptors on the way the rest is named,
// and what is in the queue is whole and complete.
func TestFillTooManyReferences(t *testing.T) {
	q := newQueue(t)
	var m manyRefs
	runChild(t, "many refs", q.writer, &m)
	if m.Err != "" || len(m.Errors) > 0 || !m.Complete || m.Sent < batch || len(m.Unsent) == 0 || m.Sent+len(m.Unsent) != 700 {
		t.Fatalf("Fill: %d sent, %d unsent, complete %v, %q %q", m.Sent, len(m.Unsent), m.Complete, m.Err, m.Errors)
	}
	p := mustPeek(t, q.reader)
	for _, i := range slices.Backward(m.Unsent) {
		m.Cookies = slices.Delete(m.Cookies, i, i+1)
	}
	if got := cookies(t, p.FDs); !slices.Equal(got, m.Cookies) || !p.Complete || string(p.Records) != "records" {
		t.Errorf("%d came, complete %v, records %q", len(got), p.Complete, p.Records)
	}
}

// A raising is what the soft limit was before, in and after the life of a queue.
type raising struct {
	Said, Before, During, After uint64
	Child                       string
}

func raiseInChild() any {
	setLimit(100, 1000)
	return raise()
}

func raiseBesideRuntime() any { return raise() }

func raise() (r raising) {
	r.Before = softLimit()
	q := get(NewQueue())
	r.Said, r.During = q.SoftLimit(), softLimit()
	r.Child = strings.TrimSpace(string(get(exec.Command("/bin/sh", "-c", "ulimit -Sn").Output())))
	q.Close()
	r.After = softLimit()
	return r
}

// TestRaise: a queue raises the soft limit to the hard one while it lives. It does not
// touch what the Go runtime has raised, so that new processes get what was before.
func TestRaise(t *testing.T) {
	tests := []struct {
		child, ulimit string
		want          raising
	}{
		{"raise", ":", raising{100, 100, 1000, 100, "1000"}},
		{"go runtime", "ulimit -Sn 256; ulimit -Hn 1024", raising{1023, 1023, 1023, 1023, "256"}},
	}
	for _, tt := range tests {
		var got raising
		runChild(t, tt.child, -1, &got, "ULIMIT="+tt.ulimit)
		if got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.child, got, tt.want)
		}
	}
}
