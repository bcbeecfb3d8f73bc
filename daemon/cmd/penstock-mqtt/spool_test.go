// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/autopaho/queue"
)

// newTestSpool returns a spool, and what it has dropped.
func newTestSpool(t *testing.T, folder string) (*spool, map[string]int) {
	t.Helper()
	dropped := map[string]int{}
	files, err := openSpool(folder, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return newSpool(files, func(reason string, n int) { dropped[reason] += n }), dropped
}

// take takes the next message out; "": there is none.
func take(t *testing.T, s *spool) string {
	t.Helper()
	e, err := s.Peek()
	if errors.Is(err, queue.ErrEmpty) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	r, _ := e.Reader()
	b, _ := io.ReadAll(r)
	if err := e.Remove(); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// padded is a message of some size with a number.
func padded(n, size int) []byte { return fmt.Appendf(nil, "%0*d", size, n) }

// TestSpoolOrder: what is added leaves in its order, through memory and files, and after a
// restart, with what was put back in front.
func TestSpoolOrder(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "spool")
	s, dropped := newTestSpool(t, folder)
	const count, size = 2000, 1000
	for n := range count {
		s.add(padded(n, size))
	}
	for n := range 700 {
		if got := take(t, s); got != string(padded(n, size)) {
			t.Fatalf("%d: %.20q", n, got)
		}
	}
	s.rescue([][]byte{padded(698, size), padded(699, size)})
	s.save(false)
	s, _ = newTestSpool(t, folder)
	seen := 0
	for n := 698; n < count; {
		switch got := take(t, s); got {
		case string(padded(n, size)):
			n, seen = n+1, seen+1
		case "":
			t.Fatalf("ends before %d", n)
		default:
			// Of the file that was being sent, what had left comes again.
			if seen > 2 {
				t.Fatalf("%d: %.20q", n, got)
			}
		}
	}
	if got := take(t, s); got != "" || len(dropped) > 0 {
		t.Errorf("%.20q, dropped %v", got, dropped)
	}
	if names, _ := os.ReadDir(folder); len(names) > 1 {
		t.Errorf("%d files are left", len(names))
	}
}

// TestSpoolRescueKept: what was under way and is put back survives the end of the process,
// also when a file that does not have it is being sent.
func TestSpoolRescueKept(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "spool")
	s, _ := newTestSpool(t, folder)
	s.add(padded(1, 100))
	if got := take(t, s); got != string(padded(1, 100)) { // under way, and never on the disk
		t.Fatalf("%.20q", got)
	}
	s.add(padded(2, 100))
	s.add(padded(3, 100))
	s.save(false)
	s.rescue([][]byte{padded(1, 100)})
	if got := take(t, s); got != string(padded(1, 100)) {
		t.Fatalf("%.20q", got)
	}
	if got := take(t, s); got != string(padded(2, 100)) { // out of the file
		t.Fatalf("%.20q", got)
	}
	s.rescue([][]byte{padded(1, 100), padded(2, 100)})
	s.save(false)
	s, _ = newTestSpool(t, folder)
	for n := range 3 {
		if got := take(t, s); got != string(padded(n+1, 100)) {
			t.Fatalf("%.20q, want %d", got, n+1)
		}
	}
	if got := take(t, s); got != "" {
		t.Errorf("%.20q after the last", got)
	}
	if names, _ := os.ReadDir(folder); len(names) > 0 {
		t.Errorf("%d files are left", len(names))
	}
}

// TestSpoolSaved: what has left out of a file does not come again after an end in order.
func TestSpoolSaved(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "spool")
	const count = 5
	for left := range count + 1 {
		s, _ := newTestSpool(t, folder)
		for n := range count {
			s.add(padded(n, 100))
		}
		s.save(false)
		s, _ = newTestSpool(t, folder)
		for range left {
			take(t, s)
		}
		s.save(false)
		s, _ = newTestSpool(t, folder)
		for n := left; n < count; n++ {
			if got := take(t, s); got != string(padded(n, 100)) {
				t.Fatalf("%d left: %.20q, want %d", left, got, n)
			}
		}
		if got := take(t, s); got != "" {
			t.Fatalf("%d left: %.20q after the last", left, got)
		}
	}
}

// TestSpoolBounds: what is too much or too old goes, the oldest first, and is counted.
func TestSpoolBounds(t *testing.T) {
	s, dropped := newTestSpool(t, filepath.Join(t.TempDir(), "spool"))
	const size, bound = 16 << 10, 1 << 20
	s.files.bound = bound
	count := 4 * bound / size
	for n := range count {
		s.add(padded(n, size))
	}
	if s.size() > bound+3*memoryBound {
		t.Errorf("%d bytes wait", s.size())
	}
	left, last := 0, -1
	for got := take(t, s); got != ""; got = take(t, s) {
		n := 0
		fmt.Sscanf(got, "%d", &n)
		if n <= last {
			t.Fatalf("%d behind %d", n, last)
		}
		left, last = left+1, n
	}
	if last != count-1 || left+dropped["full"] != count || left < count/8 {
		t.Errorf("%d left, dropped %v, of %d; last %d", left, dropped, count, last)
	}
	now := time.Now()
	s.now = func() time.Time { return now }
	s.add([]byte("old"))
	now = now.Add(oldest + time.Second)
	s.add([]byte("new"))
	if got := take(t, s); got != "new" || dropped["too_old"] != 1 {
		t.Errorf("%q, dropped %v", got, dropped)
	}
}

// TestSpoolPowerCut: a file that is cut or spoiled is read as far as it is whole.
func TestSpoolPowerCut(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "spool")
	s, _ := newTestSpool(t, folder)
	for n := range 10 {
		s.add(padded(n, 100))
	}
	s.save(false)
	names, err := os.ReadDir(folder)
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	path := filepath.Join(folder, names[len(names)-1].Name())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, _ := newTestSpool(t, folder)
		got := 0
		for text := take(t, s); text != ""; text = take(t, s) {
			got++
		}
		if want := cut / (100 + recordHead); got < want || got > want+1 {
			t.Fatalf("cut at %d: %d messages", cut, got)
		}
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = newTestSpool(t, folder)
	if got := take(t, s); got == "" && len(names) == 1 {
		t.Error("nothing is left of a file that is spoiled in the middle")
	}
}

// TestSpoolQuick: what is for this connection goes first, and not further.
func TestSpoolQuick(t *testing.T) {
	s, _ := newTestSpool(t, filepath.Join(t.TempDir(), "spool"))
	s.add([]byte("line"))
	s.addQuick([]byte("room"))
	e, err := s.Peek()
	if err != nil {
		t.Fatal(err)
	}
	s.disconnected()
	s.addQuick([]byte("next"))
	if err := e.Remove(); err != nil {
		t.Fatal(err)
	}
	if a, b := take(t, s), take(t, s); a != "next" || b != "line" {
		t.Errorf("%q %q", a, b)
	}
}

// TestSpoolFull: the library gets nothing while the broker owes too many answers, and is
// awakened when it has given one.
func TestSpoolFull(t *testing.T) {
	s, _ := newTestSpool(t, filepath.Join(t.TempDir(), "spool"))
	s.flight.add(0, flightCount)
	s.add([]byte("x"))
	wake := s.Wait()
	select {
	case <-wake:
		t.Error("awake")
	default:
	}
	if got := take(t, s); got != "" {
		t.Error(got)
	}
	s.flight.add(0, -1)
	s.landed()
	<-wake
	if got := take(t, s); got != "x" {
		t.Error(got)
	}
}
