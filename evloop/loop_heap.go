// SPDX-License-Identifier: Apache-2.0

package evloop

// A minHeap orders small integers (slots) by deadline and finds each again, so
// that a deadline can be moved or removed. A node has four children: that is
// half the depth of a binary heap, and one cache line to compare.
// container/heap would cost an interface call for each comparison and move.
type minHeap struct {
	items []heapItem
	pos   []uint32 // by slot: index in items plus one; 0: absent
	most  int      // how many are expected at most; see grown
}

type heapItem struct {
	at   Time
	slot uint32
}

func (h *minHeap) len() int { return len(h.items) }

// min returns the earliest item, or zeros of an empty heap.
func (h *minHeap) min() (slot uint32, at Time) {
	if len(h.items) == 0 {
		return 0, 0
	}
	return h.items[0].slot, h.items[0].at
}

func (h *minHeap) has(slot uint32) bool {
	return int(slot) < len(h.pos) && h.pos[slot] != 0
}

// when returns the deadline of slot, and whether it has one.
func (h *minHeap) when(slot uint32) (Time, bool) {
	if !h.has(slot) {
		return 0, false
	}
	return h.items[h.pos[slot]-1].at, true
}

// set inserts slot, or moves it, to the deadline at.
func (h *minHeap) set(slot uint32, at Time) {
	for int(slot) >= len(h.pos) {
		h.pos = append(grown(h.pos, h.most), 0)
	}
	i := int(h.pos[slot]) - 1
	if i < 0 {
		i = len(h.items)
		h.items = append(grown(h.items, h.most), heapItem{})
	}
	h.place(i, heapItem{at, slot})
	h.fix(i)
}

// remove takes slot out; it does nothing when slot is absent.
func (h *minHeap) remove(slot uint32) {
	if !h.has(slot) {
		return
	}
	i, last := int(h.pos[slot])-1, len(h.items)-1
	h.pos[slot] = 0
	moved := h.items[last]
	h.items = h.items[:last]
	if i != last {
		h.place(i, moved)
		h.fix(i)
	}
}

func (h *minHeap) place(i int, it heapItem) {
	h.items[i] = it
	h.pos[it.slot] = uint32(i + 1)
}

// fix restores the order around index i, first upwards, then downwards.
func (h *minHeap) fix(i int) {
	it := h.items[i]
	for i > 0 {
		up := (i - 1) / 4
		if h.items[up].at <= it.at {
			break
		}
		h.place(i, h.items[up])
		i = up
	}
	for {
		first := 4*i + 1
		if first >= len(h.items) {
			break
		}
		least := first
		for k := first + 1; k < min(first+4, len(h.items)); k++ {
			if h.items[k].at < h.items[least].at {
				least = k
			}
		}
		if h.items[least].at >= it.at {
			break
		}
		h.place(i, h.items[least])
		i = least
	}
	h.place(i, it)
}
