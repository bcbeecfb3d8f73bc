// SPDX-License-Identifier: Apache-2.0

package service

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestLine: a line of clients is what a slice of them would be, in both directions,
// whatever happens in which order.
func TestLine(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var l line
		var want []*caller
		hungry := 0
		for range 60 {
			cl := new(caller)
			switch random.IntN(6) {
			case 0:
				l.append(cl)
				want = append(want, cl)
			case 1:
				if hungry > 0 { // transactions know no starving, and others no place at the front
					continue
				}
				l.prepend(cl)
				want = slices.Insert(want, 0, cl)
			case 2, 3:
				l.starve(cl)
				want = slices.Insert(want, hungry, cl)
				hungry++
			case 4:
				if len(want) == 0 {
					continue
				}
				i := random.IntN(len(want))
				l.remove(want[i])
				want = slices.Delete(want, i, i+1)
				if i < hungry {
					hungry--
				}
			case 5:
				got := l.take()
				if len(want) == 0 {
					if got != nil {
						t.Fatal("an empty line has somebody")
					}
					continue
				}
				if got != want[0] || got.before != nil || got.behind != nil {
					t.Fatal("it is not the first one that is taken")
				}
				want = want[1:]
				hungry = max(0, hungry-1)
			}
			wantLine(t, &l, want)
		}
	}
}

func wantLine(t *testing.T, l *line, want []*caller) {
	t.Helper()
	var there, back []*caller
	for cl := l.first; cl != nil; cl = cl.behind {
		there = append(there, cl)
	}
	for cl := l.last; cl != nil; cl = cl.before {
		back = append(back, cl)
	}
	slices.Reverse(back)
	if !slices.Equal(there, want) || !slices.Equal(back, want) || l.n != len(want) {
		t.Fatalf("%d from the front, %d from the back, n = %d, want %d, or their order differs", len(there), len(back), l.n, len(want))
	}
}
