// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCommit: the commit empties the queue for everybody who holds it, and a second one
// does nothing. One that was overtaken by another process says so.
func TestCommit(t *testing.T) {
	q, list := newQueue(t), forms[0].pairs(t, batch+1)
	fill(t, q, "", list)
	store := get(unix.FcntlInt(uintptr(q.reader), unix.F_DUPFD_CLOEXEC, 0))
	defer unix.Close(store)
	p := mustPeek(t, q.reader)
	late := mustPeek(t, store)
	late.queue = get(unix.FcntlInt(uintptr(store), unix.F_DUPFD_CLOEXEC, 0))
	q.reader = -1
	for range 2 {
		if err := p.Commit(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Peek(store); !errors.Is(err, ErrEmpty) {
		t.Errorf("Peek after Commit = %v, want %v", err, ErrEmpty)
	}
	if err := late.Commit(); !errors.Is(err, unix.EPIPE) {
		t.Errorf("second commit = %v, want EPIPE", err)
	}
	late.Discard()
	for i, fd := range p.FDs {
		wantAlive(t, list[i].client, fd)
	}
	for i, fd := range p.FDs {
		End(fd)
		wantEnd(t, list[i].client, io.EOF)
	}
	p.FDs = nil
}

// TestMatch: connections find their records, whatever is missing on either side.
func TestMatch(t *testing.T) {
	list := forms[0].pairs(t, 5)
	fds := servers(list)
	c := cookies(t, fds)
	tests := []struct {
		name    string
		fds     []int
		records []uint64
		want    []int
	}{
		{"all", fds, c, []int{0, 1, 2, 3, 4}},
		{"nothing", nil, nil, []int{}},
		{"writer was killed", fds[:3], c, []int{0, 1, 2}},
		{"one was not sent", slices.Delete(slices.Clone(fds), 1, 2), c, []int{0, 2, 3, 4}},
		{"one has no record", fds, slices.Delete(slices.Clone(c), 1, 2), []int{0, -1, 1, 2, 3}},
		{"no records", fds, nil, []int{-1, -1, -1, -1, -1}},
		{"other order", fds, []uint64{c[4], c[0], 1 << 60, c[2]}, []int{1, -1, 3, -1, 0}},
	}
	for _, tt := range tests {
		var conns []Conn
		for _, cookie := range tt.records {
			conns = append(conns, Conn{Cookie: cookie})
		}
		for _, p := range []*Parcel{{FDs: tt.fds}, {FDs: tt.fds, Complete: true, Header: Header{Descriptors: len(fds)}}} {
			if got := p.Match(conns); !slices.Equal(got, tt.want) {
				t.Errorf("%s, complete %t: %v, want %v", tt.name, p.Complete, got, tt.want)
			}
		}
	}
}

// TestMatchInOrder: of a complete queue only the ends of each message are compared with
// their records.
func TestMatchInOrder(t *testing.T) {
	const n = batch + 3
	list := forms[0].pairs(t, n)
	fds, conns := servers(list), make([]Conn, n)
	for i := range conns {
		conns[i].Cookie = 1 << 60 // of no socket
		if i == 0 || i == batch-1 || i >= batch {
			conns[i].Cookie, _ = Cookie(fds[i])
		}
	}
	p := &Parcel{FDs: fds, Complete: true, Header: Header{Descriptors: n}}
	for i, place := range p.Match(conns) {
		if place != i {
			t.Fatalf("descriptor %d has record %d", i, place)
		}
	}
	for _, i := range []int{0, batch - 1, batch, n - 1} {
		was := conns[i].Cookie
		conns[i].Cookie = 1 << 61
		if got := p.Match(conns)[i]; got != -1 {
			t.Errorf("descriptor %d has record %d in spite of another cookie", i, got)
		}
		conns[i].Cookie = was
	}
	p.Missing = 1
	if got := p.Match(conns)[1]; got != -1 {
		t.Errorf("record %d for a descriptor of a queue that is not complete", got)
	}
}

// TestNewest: of two queues the newer one is served. What is in the other as well lives
// on, and what is only there ends.
func TestNewest(t *testing.T) {
	list := forms[0].pairs(t, 3)
	both, onlyOld, onlyNew := list[0], list[1], list[2]
	older, newer := newQueue(t), newQueue(t)
	get(older.Fill(Header{Written: Now() - time.Second}, []byte("stale"), []int{both.server, onlyOld.server}))
	get(newer.Fill(Header{}, []byte("fresh"), []int{both.server, onlyNew.server}))
	end(older, list)
	end(newer, nil)
	for _, order := range [][]*Queue{{older, newer}, {newer, older}} {
		var parcels []*Parcel
		for _, q := range order {
			parcels = append(parcels, mustPeek(t, q.reader))
		}
		if i := Newest(parcels); i < 0 || string(parcels[i].Records) != "fresh" {
			t.Fatalf("Newest = %d", i)
		}
		parcels[0].Discard()
		parcels[1].Discard()
	}
	if i := Newest(nil); i != -1 {
		t.Errorf("Newest(nil) = %d", i)
	}
	stale, fresh := adopt(t, older), adopt(t, newer)
	stale.Discard()
	wantEnd(t, onlyOld.client, io.EOF)
	wantAlive(t, both.client, fresh.FDs[0])
	wantAlive(t, onlyNew.client, fresh.FDs[1])
}
