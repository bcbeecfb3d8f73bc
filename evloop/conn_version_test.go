// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The files in testdata/records were written by this package as it was when each version
// was the present one: the record of a Unix stream with "te" kept and "reply" queued, and
// the table that came with it, since version 5. They are not made anew.

// fromThen reads a file of the corpus.
func fromThen(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/records/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRecordsOfFormerVersions: a record or a table of an older version is refused, with
// its version as the reason, and the descriptor stays the caller's. That of the present
// version is read.
func TestRecordsOfFormerVersions(t *testing.T) {
	for version := 1; version < stateVersion; version++ {
		l := openLoop(t)
		r, err := l.NewRestore(fromThen(t, fmt.Sprintf("table%d", stateVersion)))
		if err != nil {
			t.Fatal(err)
		}
		ours, p := socketPair(t, unix.SOCK_STREAM)
		_, err = r.Conn(ours, newProbe(t), nil, nil, fromThen(t, fmt.Sprintf("version%d", version)))
		r.Done()
		if want := fmt.Sprintf("version %d, want %d", version, stateVersion); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), want) {
			t.Errorf("version %d: %v, want %q", version, err, want)
		}
		if n := p.offer([]byte("x")); n != 1 {
			t.Errorf("version %d: the descriptor was closed", version)
		}
		unix.Close(ours)
	}
	if _, err := openLoop(t).NewRestore(fromThen(t, "table5")); !errors.Is(err, ErrState) || !strings.Contains(err.Error(), "version 5") {
		t.Errorf("table of version 5: %v", err)
	}
}

// TestRecordOfThisVersion: what was written at any time with the present version is read
// as it was meant. If a change makes this fail, the version must be another one.
func TestRecordOfThisVersion(t *testing.T) {
	r := newEpollRig(t)
	re, err := r.l.NewRestore(fromThen(t, fmt.Sprintf("table%d", stateVersion)))
	if err != nil {
		t.Fatal(err)
	}
	ours, p := socketPair(t, unix.SOCK_STREAM)
	c, err := re.Conn(ours, r.probe, nil, nil, fromThen(t, fmt.Sprintf("version%d", stateVersion)))
	if err != nil {
		t.Fatal(err)
	}
	re.Done()
	r.gets(p, []byte("reply"))
	p.write("mp")
	r.until("input", func() bool { return string(r.of(c).got) == "temp" })
	if c.BytesIn() != 4 {
		t.Errorf("%d bytes in all, want 4", c.BytesIn())
	}
}
