// SPDX-License-Identifier: Apache-2.0

package view

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAdd: whatever the order in which clients are added, those with the most
// queued are listed, and the sums are those of all.
func TestAdd(t *testing.T) {
	conns := []Conn{
		{ID: 1, Queued: 5, Kernel: 1, Traffic: Traffic{10, 1}},
		{ID: 2, Queued: 0, Kernel: 2, Traffic: Traffic{20, 2}},
		{ID: 3, Queued: 9, Kernel: 3, Traffic: Traffic{30, 3}},
		{ID: 4, Queued: 5, Kernel: 4, Traffic: Traffic{40, 4}},
		{ID: 5, Queued: 0, Kernel: 5, Traffic: Traffic{50, 5}},
	}
	for _, tt := range []struct {
		most int
		want []uint64
	}{
		{0, nil},
		{1, []uint64{3}},
		{3, []uint64{3, 1, 4}},
		{4, []uint64{3, 1, 4, 2}},
		{9, []uint64{3, 1, 4, 2, 5}},
	} {
		for range 20 {
			rand.Shuffle(len(conns), func(i, j int) { conns[i], conns[j] = conns[j], conns[i] })
			var s Service
			for _, c := range conns {
				c.Kernel = 0
				s.Add(c, tt.most)
			}
			for _, c := range conns {
				s.AddKernel(c.ID, c.Kernel)
			}
			var got []uint64
			for _, c := range s.Conns {
				got = append(got, c.ID)
				if c.Kernel != int(c.ID) {
					t.Errorf("the kernel holds %d bytes for connection %d", c.Kernel, c.ID)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Fatalf("at most %d: %v, want %v", tt.most, got, tt.want)
			}
			if s.Open != (Traffic{150, 15}) || s.Kernel != 15 {
				t.Fatalf("at most %d: sums %v and %d", tt.most, s.Open, s.Kernel)
			}
		}
	}
}

// TestSums: what is leaving counts for its clients, not as a service.
func TestSums(t *testing.T) {
	s := Snapshot{Services: []Service{
		{Name: "a", Clients: 2, Missing: []string{"127.0.0.1:1"}},
		{Name: "b", Clients: 3},
		{Name: "c", Clients: 4, Missing: []string{"127.0.0.1:2"}, Leaving: true},
	}}
	if s.Clients() != 9 || s.InForce() != 2 || !slices.Equal(s.Degraded(), []string{"a"}) {
		t.Errorf("%d clients, %d services, degraded %v", s.Clients(), s.InForce(), s.Degraded())
	}
}
