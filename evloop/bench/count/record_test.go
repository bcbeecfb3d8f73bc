// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
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

// TestChoose: the name of a CPU that does not exist is refused, or nothing would be counted
// in silence.
func TestChoose(t *testing.T) {
	for want, names := range map[string][]string{
		"amd64 armv7 armv6": nil,
		"armv7 armv6":       {"armv6", "armv7"},
		"":                  {"armv6", "armv5"},
	} {
		chosen, err := choose(names)
		var got []string
		for _, c := range chosen {
			got = append(got, c.name)
		}
		if strings.Join(got, " ") != want || (err != nil) != (want == "") {
			t.Errorf("choose(%q) is %q, %v; want %q", names, got, err, want)
		}
	}
}

// TestRecordOfSome: a record without all CPUs is not written.
func TestRecordOfSome(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recorded")
	if err := writeRecord(path, nil); err == nil {
		t.Error("a record of nothing was written")
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is there: %v", err)
	}
}

// TestRecordIsReplaced: the old record is whole until the new one is in its place, and
// nothing else is left.
func TestRecordIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recorded")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	var lines []line
	for _, c := range cpus {
		for _, l := range loads {
			lines = append(lines, line{cpu: c.name, load: l})
		}
	}
	if err := writeRecord(path, lines); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(old); string(b) != "old" {
		t.Errorf("the old file reads %q, %v: it was written to", b, err)
	}
	if got, err := readRecord(path); len(got) != len(lines) {
		t.Errorf("%d counts are recorded, %v, want %d", len(got), err, len(lines))
	}
	if all, err := os.ReadDir(filepath.Dir(path)); len(all) != 1 {
		t.Errorf("%v, %v are in the folder, want one file", all, err)
	}
}

// TestSpared: a CPU is skipped, and why is said, where a machine need not have its compiler
// or its emulator.
func TestSpared(t *testing.T) {
	here, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := cpu{name: "x", qemu: []string{here}, cc: []string{"no-such-gcc"}, spared: true}
	if why, err := c.skipped(t.TempDir(), ""); why != "no-such-gcc is missing" || err != nil {
		t.Errorf("skipped: %q, %v", why, err)
	}
	c.spared = false
	if why, err := c.skipped(t.TempDir(), ""); why != "" || err == nil {
		t.Errorf("skipped: %q, %v; want an error", why, err)
	}
}
