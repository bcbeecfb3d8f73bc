// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/evlooptest"
)

// TestPeekTwice: a peek takes nothing. The offset of the first reader, who has died or
// has discarded, does not hide the queue from the second.
func TestPeekTwice(t *testing.T) {
	q, list := newQueue(t), forms[0].pairs(t, batch+5)
	want := cookies(t, servers(list))
	fill(t, q, "records", list)
	for range 3 {
		p := mustPeek(t, q.reader)
		if got := cookies(t, p.FDs); !slices.Equal(got, want) || !p.Complete || string(p.Records) != "records" {
			t.Fatalf("%d came, complete %v, records %q", len(got), p.Complete, p.Records)
		}
		for _, fd := range p.FDs {
			if flags := get(unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)); flags != unix.FD_CLOEXEC {
				t.Fatalf("flags %#x of a peeked descriptor", flags)
			}
		}
		p.Discard()
	}
	p := adopt(t, q)
	for i, fd := range p.FDs {
		wantAlive(t, list[i].client, fd)
	}
}

func peekAndDie() any {
	p := get(Peek(3))
	fmt.Println(len(p.FDs), p.Complete)
	return die()
}

// TestPeekAndDie: a process that is killed after the peek costs nothing.
func TestPeekAndDie(t *testing.T) {
	eachForm(t, func(t *testing.T, f form) {
		q, list := newQueue(t), f.pairs(t, 20)
		want := cookies(t, servers(list))
		fill(t, q, "", list)
		for range 2 {
			if got := killChild(t, "peek and die", q.reader); got != "20 true\n" {
				t.Fatalf("child has seen %q", got)
			}
		}
		p := adopt(t, q)
		if got := cookies(t, p.FDs); !slices.Equal(got, want) {
			t.Fatalf("%d came, want %d in order", len(got), len(want))
		}
		for i, fd := range p.FDs {
			wantAlive(t, list[i].client, fd)
		}
	})
}

// fillAndDie is killed between two messages of Fill.
func fillAndDie() any {
	q := &Queue{reader: -1, writer: 3, room: 1 << 30}
	must(q.send(markHead, []int{get(writeFile(Header{Descriptors: 40}, []byte("records")))}))
	var ends [20]int
	for i := range ends {
		both := get(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0))
		must(unix.SetNonblock(both[0], true))
		write := get(unix.Write(both[1], []byte{byte('a' + i)}))
		ends[i] = both[0]
		if write != 1 {
			panic("short write")
		}
	}
	must(q.send(byte(len(ends)), ends[:]))
	return die()
}

// TestFillAndDie: of a writer that was killed in the middle, what is in the queue can be
// adopted, and the parcel says that it is not all.
func TestFillAndDie(t *testing.T) {
	q := newQueue(t)
	killChild(t, "fill and die", q.writer)
	q.writer = shut(q.writer)
	p := adopt(t, q)
	if p.Complete || len(p.FDs) != 20 || p.Descriptors != 40 || p.Missing != 0 || string(p.Records) != "records" {
		t.Fatalf("complete %v, %d of %d, records %q", p.Complete, len(p.FDs), p.Descriptors, p.Records)
	}
	for i, fd := range p.FDs {
		wantBytes(t, fd, string(rune('a'+i)))
		wantEnd(t, fd, io.EOF)
	}
}

// A lowPeek is what a child with few descriptors has seen.
type lowPeek struct {
	Cookies  []uint64
	Missing  int
	Complete bool
	Records  string
	Soft     uint64
}

func peekAtLowLimit() any {
	var soft, hard uint64
	fmt.Sscan(os.Getenv("LIMITS"), &soft, &hard)
	setLimit(soft, hard)
	before := evlooptest.Descriptors()
	p := get(Peek(3))
	l := lowPeek{Missing: p.Missing, Complete: p.Complete, Records: string(p.Records), Soft: softLimit()}
	for _, fd := range p.FDs {
		l.Cookies = append(l.Cookies, get(Cookie(fd)))
	}
	p.Discard()
	if after := evlooptest.Descriptors(); !slices.Equal(before, after) {
		l.Records = fmt.Sprintf("left open: %v, before: %v", after, before)
	}
	return l
}

// TestPeekAtLowLimit: a soft limit that is too low is raised. At the hard limit what
// fits is taken, the rest is counted, and the queue is whole.
func TestPeekAtLowLimit(t *testing.T) {
	q, list := newQueue(t), forms[1].pairs(t, batch+30)
	want := cookies(t, servers(list))
	fill(t, q, "records", list)
	tests := []struct {
		limits string
		all    bool
		soft   uint64
	}{
		{"100 1000", true, 1000},
		{"280 1000", true, 1000},
		{"1000 1000", true, 1000},
		{"100 100", false, 100},
		{"99 100", false, 99}, // as the Go runtime sets it
		{"280 280", false, 280},
	}
	for _, tt := range tests {
		t.Run(tt.limits, func(t *testing.T) {
			var l lowPeek
			runChild(t, "low limit", q.reader, &l, "LIMITS="+tt.limits)
			if !l.Complete || l.Records != "records" || l.Soft != tt.soft || len(l.Cookies)+l.Missing != len(list) {
				t.Errorf("%d came, %d missing, complete %v, records %q, soft limit %d",
					len(l.Cookies), l.Missing, l.Complete, l.Records, l.Soft)
			}
			if (l.Missing == 0) != tt.all || len(l.Cookies) < 50 || !slices.Equal(l.Cookies[:50], want[:50]) {
				t.Errorf("%d missing, want all: %v", l.Missing, tt.all)
			}
		})
	}
	p := mustPeek(t, q.reader)
	if got := cookies(t, p.FDs); !slices.Equal(got, want) {
		t.Errorf("%d came after all, want %d in order", len(got), len(want))
	}
}

func peekWithoutNumber() any {
	next := get(unix.Eventfd(0, 0))
	unix.Close(next)
	setLimit(uint64(next), uint64(next))
	p, err := Peek(3)
	return fmt.Sprint(p == nil, errors.Is(err, unix.EMFILE), err)
}

// TestPeekWithoutNumber: without a number for the file of records there is no parcel,
// and no verdict about the queue.
func TestPeekWithoutNumber(t *testing.T) {
	q, list := newQueue(t), forms[1].pairs(t, 3)
	fill(t, q, "records", list)
	var got string
	runChild(t, "no number", q.reader, &got)
	if !strings.HasPrefix(got, "true true handover: queue: receive the file of records: ") {
		t.Errorf("Peek: %s", got)
	}
	if p := mustPeek(t, q.reader); len(p.FDs) != 3 {
		t.Errorf("%d came after all", len(p.FDs))
	}
}

// TestPeekRefuses: what is no queue, and what has nothing in it, gives no parcel.
func TestPeekRefuses(t *testing.T) {
	socket := func(domain, typ int) func() int {
		return func() int { return get(unix.Socket(domain, typ|unix.SOCK_CLOEXEC, 0)) }
	}
	tests := []struct {
		name string
		open func() int
		want error
	}{
		{"stream", socket(unix.AF_UNIX, unix.SOCK_STREAM), ErrNotQueue},
		{"datagram", socket(unix.AF_UNIX, unix.SOCK_DGRAM), ErrNotQueue},
		{"tcp", socket(unix.AF_INET, unix.SOCK_STREAM), ErrNotQueue},
		{"no socket", func() int { return get(unix.Eventfd(0, unix.EFD_CLOEXEC)) }, ErrNotQueue},
		{"nothing", func() int { return -1 }, unix.EBADF},
		{"not connected", socket(unix.AF_UNIX, unix.SOCK_SEQPACKET), unix.ENOTCONN},
		{"nothing filled in", func() int {
			_, reader := emptyQueue(t)
			return reader
		}, ErrEmpty},
		{"writer gone", func() int {
			q, reader := emptyQueue(t)
			q.writer = shut(q.writer)
			return reader
		}, ErrEmpty},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fd := tt.open()
			p, err := Peek(fd)
			if p != nil || !errors.Is(err, tt.want) {
				t.Errorf("Peek = %v, %v; want %v", p, err, tt.want)
			}
			if fd >= 0 && unix.Close(fd) != nil {
				t.Error("the descriptor is not the caller's any more")
			}
		})
	}
}

// emptyQueue returns a queue of which the reader's end is the test's, and that end.
func emptyQueue(t *testing.T) (q *Queue, reader int) {
	q = newQueue(t)
	reader, q.reader = q.reader, -1
	return q, reader
}

// TestPeekJudges: a queue that must not be adopted comes with its connections, so that
// they can be ended, and with an error that says why.
func TestPeekJudges(t *testing.T) {
	old := Now() - MaxAge - time.Minute
	sealed := func(h Header, change func(b []byte) []byte) int {
		b := change(append(h.encode(7), "records\x00\x00\x00\x00"...))
		fd := get(unix.MemfdCreate("damaged", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING))
		must(writeAll(fd, b))
		get(unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals))
		return fd
	}
	tests := []struct {
		name    string
		fill    func(q *Queue, server int)
		want    error
		records string
		fds     int
	}{
		{"older version", headed(Header{Version: Version + 1}), ErrForeign, "", 1},
		{"older version and old", headed(Header{Version: Version + 1, Written: old}), ErrForeign, "", 1},
		{"old", headed(Header{Written: old}), ErrExpired, "records", 1},
		{"from the future", headed(Header{Written: Now() + time.Hour}), ErrDamaged, "", 1},
		{"wrong sum", func(q *Queue, server int) {
			play(q, message{markHead, sealed(Header{Descriptors: 1}, slices.Clone[[]byte])}, message{1, server}, message{markEnd, -1})
		}, ErrDamaged, "", 1},
		{"empty file", func(q *Queue, server int) {
			play(q, message{markHead, sealed(Header{}, func([]byte) []byte { return nil })}, message{1, server}, message{markEnd, -1})
		}, ErrDamaged, "", 1},
		{"not sealed", func(q *Queue, server int) {
			play(q, message{markHead, get(unix.MemfdCreate("open", unix.MFD_CLOEXEC))}, message{1, server}, message{markEnd, -1})
		}, ErrDamaged, "", 1},
		{"not in memory", func(q *Queue, server int) {
			play(q, message{markHead, get(unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0))}, message{1, server})
		}, ErrDamaged, "", 1},
		{"no file", func(q *Queue, server int) { play(q, message{1, server}, message{markEnd, -1}) }, ErrDamaged, "", 0},
		{"more than it says", func(q *Queue, server int) { play(q, head(0), message{1, server}, message{markEnd, -1}) }, ErrDamaged, "", 1},
		{"wrong number", func(q *Queue, server int) { play(q, head(2), message{1, server}, message{2, server}) }, ErrDamaged, "", 1},
		{"two files", func(q *Queue, server int) { play(q, head(1), message{1, server}, head(1)) }, ErrDamaged, "", 1},
		{"two ends", func(q *Queue, server int) {
			play(q, head(1), message{1, server}, message{markEnd, -1}, message{markEnd, -1})
		}, ErrDamaged, "", 1},
		{"more behind the end", func(q *Queue, server int) { play(q, head(1), message{markEnd, -1}, message{1, server}) }, ErrDamaged, "", 0},
		{"a number above all", func(q *Queue, server int) { play(q, head(1), message{batch + 1, server}) }, ErrDamaged, "", 0},
		{"a long message", func(q *Queue, server int) {
			play(q, head(1))
			must(unix.Sendmsg(q.writer, []byte("long"), unix.UnixRights(server), nil, 0))
			play(q, message{1, server})
		}, ErrDamaged, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q, c := newQueue(t), forms[0].pairs(t, 1)[0]
			tt.fill(q, c.server)
			end(q, []*pair{c})
			p, err := Peek(q.reader)
			if !errors.Is(err, tt.want) || p == nil {
				t.Fatalf("Peek = %v, %v; want %v", p, err, tt.want)
			}
			if string(p.Records) != tt.records || len(p.FDs) != tt.fds {
				t.Errorf("records %q, %d descriptors; want %q, %d", p.Records, len(p.FDs), tt.records, tt.fds)
			}
			var expired *ExpiredError
			if errors.As(err, &expired) && (expired.Age < MaxAge || expired.Age != p.Age) {
				t.Errorf("expired after %v, age %v", expired.Age, p.Age)
			}
			wantNothing(t, c.client)
			q.reader = -1
			if err := p.Commit(); err != nil {
				t.Error(err)
			}
			for _, fd := range p.FDs {
				End(fd)
			}
			wantEnd(t, c.client, io.EOF)
		})
	}
}

func headed(h Header) func(*Queue, int) {
	return func(q *Queue, server int) { get(q.Fill(h, []byte("records"), []int{server})) }
}

// A message is a mark and a descriptor, or -1.
type message struct {
	mark byte
	fd   int
}

func head(descriptors int) message {
	return message{markHead, get(writeFile(Header{Descriptors: descriptors}, []byte("records")))}
}

// play sends messages that Fill would not send, and closes the files of head.
func play(q *Queue, messages ...message) {
	for _, m := range messages {
		if m.fd < 0 {
			must(q.send(m.mark, nil))
			continue
		}
		must(q.send(m.mark, []int{m.fd}))
		if m.mark == markHead {
			unix.Close(m.fd)
		}
	}
}
