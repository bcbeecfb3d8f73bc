// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestFamilies: each value is of a family that is described, has the name of the socket in
// front, and is there once with its object and fields.
func TestFamilies(t *testing.T) {
	described := map[string]bool{}
	for _, f := range Families() {
		if described[f.Name] || !strings.HasPrefix(f.Name, FamilyPrefix) || f.Description == "" || !slices.Contains([]string{counter, gauge}, f.Type) {
			t.Errorf("%+v", f)
		}
		described[f.Name] = true
	}
	all := sample.Values()
	for _, s := range sample.Merged() {
		values := s.Values()
		if len(values) == 0 {
			t.Errorf("%s has no values", s.Name)
		}
		all = append(all, values...)
	}
	seen := map[string]any{}
	for _, v := range all {
		key := fmt.Sprint(v.Name, " ", v.Object, " ", v.Fields)
		if _, twice := seen[key]; twice || !described[v.Name] {
			t.Errorf("%s: twice, or not described", key)
		}
		seen[key] = v.Value
	}
	for key, want := range map[string]any{
		"penstock.Control.Connections gps map[kind:bridge]":                        uint64(3),
		"penstock.Control.ConnectionsRefusedTotal gps map[kind:bridge reason:uid]": uint64(5),
		"penstock.Control.LoopAsleepSecondsTotal  map[]":                           3600.0,
		"penstock.Control.Ready  map[]":                                            uint64(1),
		"penstock.Control.SourceErrorsTotal gps map[kind:bridge reason:overrun]":   uint64(4),
	} {
		if seen[key] != want {
			t.Errorf("%s is %v, want %v", key, seen[key], want)
		}
	}
}
