// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// TestGenerateGroups: the service gets the group of a log file, and no other group: a
// file that the administrator named must not open more than logs.
func TestGenerateGroups(t *testing.T) {
	id := func(name string) int {
		g, err := user.LookupGroup(name)
		if err != nil {
			t.Skip(err)
		}
		n, _ := strconv.Atoi(g.Gid)
		return n
	}
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path, group string
		want              []string
	}{
		{"a log that is not there", "/var/log/no such folder/x", "", []string{"adm"}},
		{"another file that is not there", "/srv/no such folder/x", "", nil},
		{"a file of the group", path, "adm", []string{"adm"}},
		{"a file of another group", path, "daemon", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want != nil {
				id("adm")
			}
			if tt.group != "" {
				if err := os.Chown(tt.path, -1, id(tt.group)); err != nil {
					t.Skip(err) // only root may
				}
			}
			cfg, mistakes := load(t, fmt.Sprintf("[service.a]\nkind = \"tail\"\nlisten = [\"7\"]\nfile = %q\n", tt.path))
			files, err := Generate("/etc/penstock/penstock.toml", cfg, mistakes, nil)
			if err != nil || mistakes != nil {
				t.Fatal(err, mistakes)
			}
			var got []string
			if slices.ContainsFunc(files, func(f File) bool { return f.Name == FilesDropIn }) {
				got = read(t, file(t, files, FilesDropIn))["Service.SupplementaryGroups"]
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("groups %q, want %q", got, tt.want)
			}
		})
	}
}
