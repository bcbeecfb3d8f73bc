// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// crowd is how many connections are carried. They are copies of one, which is all the
// same to the queue.
const crowd = 8000

// carry is a hand-over of one process: filled, peeked and committed.
func carry(tb testing.TB, fds []int, records []byte) {
	q := get(NewQueue())
	r, err := q.Fill(Header{}, records, fds)
	if err != nil || r.Sent != len(fds) || !r.Complete {
		tb.Fatalf("Fill: %d sent, %d unsent, %v", r.Sent, len(r.Unsent), err)
	}
	fd := q.reader
	q.reader = -1
	q.Close()
	p := get(Peek(fd))
	if len(p.FDs) != len(fds) || !p.Complete {
		tb.Fatalf("%d came, complete %v", len(p.FDs), p.Complete)
	}
	must(p.Commit())
	p.Discard()
}

func aCrowd(tb testing.TB) []int {
	if softLimit() < crowd+100 {
		tb.Skipf("the limit of descriptors is %d", softLimit())
	}
	must(Grow(crowd + 100))
	ends := get(unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0))
	tb.Cleanup(func() { closeAll(ends[:]) })
	return slices.Repeat(ends[:1], crowd)
}

// TestCarryAllocates: memory is taken for each message, not for each descriptor.
func TestCarryAllocates(t *testing.T) {
	fds := aCrowd(t)
	messages := float64(crowd/batch + 2)
	if got := testing.AllocsPerRun(3, func() { carry(t, fds, nil) }); got > 12*messages {
		t.Errorf("%v allocations for %v messages", got, messages)
	}
}

func BenchmarkCarry(b *testing.B) {
	fds, records := aCrowd(b), make([]byte, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		carry(b, fds, records)
	}
}

func BenchmarkRecords(b *testing.B) {
	r := Records{Conns: make([]Conn, crowd)}
	for i := range r.Conns {
		r.Conns[i] = Conn{uint64(i + 1), make([]byte, 100)}
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := get(Decode(get(r.Encode()))); len(got.Conns) != crowd {
			b.Fatal(len(got.Conns))
		}
	}
}
