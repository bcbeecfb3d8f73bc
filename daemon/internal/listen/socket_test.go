// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// TestChangedKeysOfFilters: the packet filter of a socket unit is the unit's.
func TestChangedKeysOfFilters(t *testing.T) {
	was, now := &config.Service{IPAllow: []string{"any"}}, &config.Service{IPDeny: []string{"any"}}
	for _, tt := range []struct {
		socket Socket
		want   []string
	}{
		{Socket{Conf: was, Family: unix.AF_INET, Inherited: true}, []string{"ip_allow", "ip_deny"}},
		{Socket{Conf: was, Family: unix.AF_INET}, nil}, // there is none
		{Socket{Conf: was, Family: unix.AF_UNIX, Inherited: true}, nil},
	} {
		if got := tt.socket.ChangedKeys(now); !slices.Equal(got, tt.want) {
			t.Errorf("family %d, inherited %v: %v, want %v", tt.socket.Family, tt.socket.Inherited, got, tt.want)
		}
	}
}
