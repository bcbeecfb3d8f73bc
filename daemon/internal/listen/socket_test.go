// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"errors"
	"os"
	"path/filepath"
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

// A file of which nothing can be learned is not taken for one that is gone: a
// reload would find the path in use, by us, and be refused.
func TestUnreachable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	path := filepath.Join(dir, "s")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Mkdir(dir, 0o755))
	check(os.WriteFile(path, nil, 0o600)) // any file will do
	f, err := newSocketFile(path)
	check(err)
	s := &Socket{file: f}
	for _, step := range []struct {
		name string
		do   func() error
		want bool
	}{
		{"as it was bound", func() error { return nil }, false},
		{"moved away", func() error { return os.Rename(dir, dir+"2") }, true},
		{"no telling", func() error { return os.Symlink(dir, dir) }, false},
		{"back again", func() error { return errors.Join(os.Remove(dir), os.Rename(dir+"2", dir)) }, false},
		{"another file", func() error { return errors.Join(os.Rename(path, path+"2"), os.WriteFile(path, nil, 0o600)) }, true},
		{"removed", func() error { return os.Remove(path) }, true},
	} {
		check(step.do())
		if got := s.Unreachable(); got != step.want {
			t.Errorf("%s: unreachable is %v, want %v", step.name, got, step.want)
		}
	}
}
