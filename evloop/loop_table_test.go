// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTableTellsGenerationsApart(t *testing.T) {
	var tb table[int]
	one, two := 1, 2
	slot, gen := tb.insert(&one)
	if tb.at(slot) != &one || tb.used != 1 {
		t.Fatalf("at(%d) does not find the value", slot)
	}
	tb.remove(slot)
	if tb.at(slot) != nil || tb.used != 0 {
		t.Errorf("at(%d) finds a value that was removed", slot)
	}
	again, next := tb.insert(&two)
	if again != slot || next == gen || gen == 0 {
		t.Errorf("insert = %d, %d; want slot %d in another generation than %d", again, next, slot, gen)
	}
	if tb.at(slot) != &two {
		t.Error("the next value is not found")
	}
}

// A generation that wraps skips 0, which names nothing.
func TestTableGenerationWraps(t *testing.T) {
	var tb table[int]
	v := 1
	slot, _ := tb.insert(&v)
	tb.slots[slot].gen = math.MaxUint32
	tb.remove(slot)
	if _, gen := tb.insert(&v); gen != 1 {
		t.Errorf("generation %d after the last, want 1", gen)
	}
}

func TestTableAll(t *testing.T) {
	var tb table[int]
	values := []int{0, 1, 2, 3, 4}
	for i := range values {
		tb.insert(&values[i])
	}
	seen := 0
	for v := range tb.all {
		seen++
		if *v%2 == 0 {
			tb.remove(uint32(*v)) // itself
		}
	}
	if seen != 5 || tb.used != 2 {
		t.Errorf("yielded %d, %d left; want 5 and 2", seen, tb.used)
	}
	for range tb.all {
		break
	}
}

func TestToken(t *testing.T) {
	for _, tt := range []struct {
		source    source
		slot, gen uint32
	}{
		{sourceConn, 0, 1},
		{sourceListener, 1, math.MaxUint32},
		{sourceWatch, 1<<30 - 1, 0x80000000},
		{sourceWaker, 1 << 29, 0x7fffffff},
	} {
		got := newToken(tt.source, tt.slot, tt.gen)
		if got.source() != tt.source || got.slot() != tt.slot || got.gen() != tt.gen {
			t.Errorf("token %#x: source %d, slot %d, generation %d; want %+v", uint64(got), got.source(), got.slot(), got.gen(), tt)
		}
	}
}

// A token of a former generation reaches nobody, whatever holds the slot now. The
// holders here have no descriptor and no handler: whoever is reached panics.
func TestStaleTokens(t *testing.T) {
	l := openLoop(t)
	l.conns.insert(&Conn{gen: 2, flags: flagDrained, out: &noQueue})
	l.listeners.insert(&Listener{gen: 2})
	l.watches.insert(&Watch{gen: 2})
	e := l.be.(*epoll)
	for _, source := range []source{sourceConn, sourceListener, sourceWatch} {
		stale := newToken(source, 0, 1)
		e.dispatch(stale, unix.EPOLLIN)
		l.serving = append(l.serving, stale)
	}
	l.serveReady()
	if got := l.Stats().StaleEvents; got != 3 {
		t.Errorf("%d stale events, want 3", got)
	}
	l.conns, l.listeners, l.watches = table[Conn]{}, table[Listener]{}, table[Watch]{} // nothing to close
}

// All 64 bits of epoll_data come back from the kernel, on every architecture:
// a 32-bit one that compared only half of them would confuse generations.
func TestTokenThroughKernel(t *testing.T) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(epfd)
	k := kernel{epfd: epfd}
	for _, want := range []token{newToken(sourceWatch, 0, 1), newToken(sourceWaker, 1<<30-1, math.MaxUint32), newToken(sourceConn, 5, 1<<31)} {
		fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.epollAdd(fd, unix.EPOLLIN|edgeTriggered, want); err != nil {
			t.Fatal(err)
		}
		var evs [4]unix.EpollEvent
		n, errno := k.epollWait(evs[:], 0)
		if n != 1 || errno != 0 || tokenOf(&evs[0]) != want {
			t.Errorf("%d events, %v, token %#x; want %#x", n, errno, uint64(tokenOf(&evs[0])), uint64(want))
		}
		unix.Close(fd)
	}
}
