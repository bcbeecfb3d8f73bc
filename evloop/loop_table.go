// SPDX-License-Identifier: Apache-2.0

package evloop

// A table maps slots to values. A generation tells a slot's present holder, which knows
// its own, from the former ones. The kernel keeps only the two numbers
// (epoll_data), never a pointer: a pointer there is hidden from the garbage
// collector, and the descriptor alone would let an event that was queued for
// a closed connection reach the one that got its number next.
//
// The generation starts at 1 and skips 0, so that a zero ConnID or TimerID
// names nothing.
type table[T any] struct {
	slots []slot[T]
	free  uint32 // first free slot plus one; 0: none
	used  int
	most  int // how many are expected at most; see grown
}

type slot[T any] struct {
	val  *T
	gen  uint32
	next uint32 // next free slot plus one, while free
}

// insert stores v and returns where.
func (t *table[T]) insert(v *T) (index, gen uint32) {
	t.used++
	if t.free == 0 {
		t.slots = append(grown(t.slots, t.most), slot[T]{val: v, gen: 1})
		return uint32(len(t.slots) - 1), 1
	}
	index = t.free - 1
	s := &t.slots[index]
	t.free = s.next
	s.val, s.next = v, 0
	return index, s.gen
}

const (
	fewSlots  = 256
	manySlots = 16 << 10
)

// grown returns s with room for one more. When a list has grown beyond a few, it gets
// the room for all that are expected, up to a bound. The kernel provides pages of it as
// they are used. append grows a list by a quarter: what it leaves behind adds up to four
// times the list, and in a heap as small as ours it is not collected soon.
func grown[T any](s []T, most int) []T {
	if len(s) < cap(s) || len(s) < fewSlots {
		return s
	}
	return append(make([]T, 0, max(2*len(s), min(most, manySlots))), s...)
}

// at returns who holds a slot that insert has given out, or nil. Whether that is still
// the one that is meant, the caller sees by its generation.
func (t *table[T]) at(index uint32) *T { return t.slots[index].val }

// remove frees the slot and ends its generation.
func (t *table[T]) remove(index uint32) {
	s := &t.slots[index]
	s.val = nil
	s.gen++
	if s.gen == 0 {
		s.gen = 1
	}
	s.next = t.free
	t.free = index + 1
	t.used--
}

// all yields the values. The body may insert and remove.
func (t *table[T]) all(yield func(*T) bool) {
	for i := 0; i < len(t.slots); i++ {
		if v := t.slots[i].val; v != nil && !yield(v) {
			return
		}
	}
}

// A source is what an event comes from. It stands in a token beside the slot, so
// that one event queue serves three tables.
type source uint32

const (
	sourceConn source = iota
	sourceListener
	sourceWatch
	sourceWaker
)

// A token is what the kernel carries in epoll_data and what the ready list
// holds:
//
//	 63  62 61                    32 31                     0
//	┌──────┬───────────────────────┬────────────────────────┐
//	│source│         slot          │       generation       │
//	└──────┴───────────────────────┴────────────────────────┘
type token uint64

func newToken(s source, index, gen uint32) token {
	return token(s)<<62 | token(index)<<32 | token(gen)
}

func (t token) source() source { return source(t >> 62) }
func (t token) slot() uint32   { return uint32(t>>32) & (1<<30 - 1) }
func (t token) gen() uint32    { return uint32(t) }
