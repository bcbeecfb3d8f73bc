// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestCompare: a count that is more than a tenth above its record fails, and so does one
// that has none.
func TestCompare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recorded")
	if err := os.WriteFile(path, []byte("# CPU\tconnections\tC\tevloop\narmv6\t64\t100\t1000\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		line line
		ok   bool
	}{
		"as recorded":      {line{cpu: "armv6", load: load{conns: 64}, ev: figure{insns: 1000}}, true},
		"a tenth more":     {line{cpu: "armv6", load: load{conns: 64}, ev: figure{insns: 1099}}, true},
		"above the margin": {line{cpu: "armv6", load: load{conns: 64}, ev: figure{insns: 1101}}, false},
		"another load":     {line{cpu: "armv6", load: load{conns: 1}, ev: figure{insns: 1}}, false},
		"another CPU":      {line{cpu: "armv7", load: load{conns: 64}, ev: figure{insns: 1}}, false},
		"asleep":           {line{cpu: "armv6", load: load{conns: 64, asleep: true}, ev: figure{insns: 1}}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if err := compare(path, []line{tt.line}); (err == nil) != tt.ok {
				t.Errorf("compare: %v, want success %t", err, tt.ok)
			}
		})
	}
}

// TestRecorded: the file in the tree has each CPU and load that is compared with it.
func TestRecorded(t *testing.T) {
	recorded, err := readRecord("recorded")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cpus {
		for _, l := range loads {
			if _, ok := recorded[cell{c.name, l.String()}]; !ok {
				t.Errorf("%s, connections %v: nothing is recorded", c.name, l)
			}
		}
	}
}
