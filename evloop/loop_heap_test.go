// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"cmp"
	"encoding/binary"
	"slices"
	"testing"
)

// FuzzHeap checks that any sequence of set and remove leaves a heap that
// yields what a sorted list would, and knows the deadline of each slot.
func FuzzHeap(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 5, 0, 2, 3, 0, 1, 9, 1, 2, 0, 2, 0, 0})
	rising, falling := []byte{}, []byte{}
	for i := range byte(100) {
		rising = append(rising, 0, i, i)
		falling = append(falling, 0, i, 200-i)
	}
	f.Add(rising)
	f.Add(falling)
	f.Add(slices.Concat(rising, []byte{1, 50, 0, 1, 0, 0, 1, 99, 0}, falling))
	f.Fuzz(func(t *testing.T, program []byte) {
		var h minHeap
		model := map[uint32]Time{}
		for ; len(program) >= 3; program = program[3:] {
			slot, at := uint32(program[1]), Time(program[2])
			switch program[0] % 3 {
			case 0:
				h.set(slot, at)
				model[slot] = at
			case 1:
				h.remove(slot)
				delete(model, slot)
			case 2:
				if h.len() > 0 {
					first, _ := h.min()
					h.remove(first)
					delete(model, first)
				}
			}
			checkHeap(t, &h, model)
		}
		drainHeap(t, &h, model)
	})
}

func checkHeap(t *testing.T, h *minHeap, model map[uint32]Time) {
	t.Helper()
	if h.len() != len(model) {
		t.Fatalf("%d items, want %d", h.len(), len(model))
	}
	least, first := Time(0), true
	for slot, want := range model {
		if got, ok := h.when(slot); !ok || got != want {
			t.Fatalf("when(%d) = %d, %t; want %d", slot, got, ok, want)
		}
		if first || want < least {
			least, first = want, false
		}
	}
	if slot, at := h.min(); at != least || (len(model) > 0 && model[slot] != at) {
		t.Fatalf("min() = slot %d at %d, want the least, %d", slot, at, least)
	}
}

func drainHeap(t *testing.T, h *minHeap, model map[uint32]Time) {
	t.Helper()
	var want []Time
	for _, at := range model {
		want = append(want, at)
	}
	slices.Sort(want)
	var got []Time
	for h.len() > 0 {
		slot, at := h.min()
		got = append(got, at)
		h.remove(slot)
		h.remove(slot) // once more does nothing
		if h.has(slot) {
			t.Fatalf("slot %d is still there after remove", slot)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("came out as %d, want %d", got, want)
	}
}

func TestHeapOfManySlots(t *testing.T) {
	var h minHeap
	const n = 10_000
	at := func(i int) Time {
		return Time(binary.BigEndian.Uint32([]byte{byte(i * 7), byte(i * 13), byte(i >> 8), byte(i)}))
	}
	order := make([]int, n)
	for i := range n {
		order[i] = i
		h.set(uint32(i), Time(n-i))
	}
	for i := range n {
		h.set(uint32(i), at(i)) // moves every one
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(at(a), at(b)) })
	for _, want := range order {
		slot, _ := h.min()
		if slot != uint32(want) {
			t.Fatalf("slot %d comes out, want %d", slot, want)
		}
		h.remove(slot)
	}
}
