// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

// TestJournalFull: while journald does not read, nothing waits for it; when
// it reads again, it gets what the queue held, with the times at which it
// happened, and the count of the rest.
func TestJournalFull(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	filled, err := j.Fill()
	if err != nil {
		t.Fatal(err)
	}
	before := time.Now().UnixMicro()
	const n = 3 * maxQueueRecords
	for i := range n {
		l.Info("m", "i", i)
	}
	after := time.Now().UnixMicro()
	var got []sdtest.Entry
	for sink.Flush() > 0 || len(got) == 0 {
		got = append(got, entries(t, j)...)
	}
	got = append(got, entries(t, j)...)
	kept, dropped := 0, 0
	for _, e := range got {
		if d, ok := e.Get("DROPPED"); ok {
			dropped, _ = strconv.Atoi(d)
			if p, _ := e.Get("PRIORITY"); p != "4" || message(e) != "log messages dropped dropped="+d {
				t.Errorf("notice is %q", e.Fields)
			}
			continue
		}
		if i, _ := e.Get("I"); i != strconv.Itoa(kept) {
			t.Fatalf("record %d is %q", kept, e.Fields)
		}
		usec, _ := e.Get("RECORD_REALTIME_USEC")
		if at, err := strconv.ParseInt(usec, 10, 64); err != nil || at < before || at > after {
			t.Fatalf("RECORD_REALTIME_USEC = %q, want %d to %d", usec, before, after)
		}
		kept++
	}
	if kept+dropped != n || dropped == 0 {
		t.Errorf("%d came, %d counted as dropped, want %d together (%d filled the socket)", kept, dropped, n, filled)
	}
	l.Info("on time")
	if _, ok := entry(t, j).Get("RECORD_REALTIME_USEC"); ok {
		t.Error("a record that did not wait carries a time of its own")
	}
}

// TestJournalFullCostsNoCPU: each record is tried once, without spinning. go-systemd's
// sender burns a whole CPU in the same place.
func TestJournalFullCostsNoCPU(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	if _, err := j.Fill(); err != nil {
		t.Fatal(err)
	}
	l.Info("m")
	conn := sink.out.(*journalConn)
	begin, cpu := time.Now(), cpuTime(t)
	if conn.wait(time.Now().Add(300 * time.Millisecond)) {
		t.Error("a full queue has room")
	}
	if spent, took := cpuTime(t)-cpu, time.Since(begin); spent > took/2 {
		t.Errorf("waiting %v for room took %v of CPU", took, spent)
	}
}

func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// TestJournalClose waits for a journal that is only slow.
func TestJournalClose(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	if _, err := j.Fill(); err != nil {
		t.Fatal(err)
	}
	l.Info("last words")
	done := make(chan int, 1)
	go func() { done <- sink.Close(patient) }()
	for {
		e := entry(t, j)
		if message(e) == "last words" {
			break
		}
	}
	if n := <-done; n != 0 {
		t.Errorf("Close() = %d", n)
	}
}

// TestJournalMemfd: a record that is too large for the socket goes as a sealed
// memfd (the fake checks the seals), in its turn when the queue is full.
func TestJournalMemfd(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	// A small send buffer stands for a system with small net.core.wmem_default.
	if err := unix.SetsockoptInt(sink.out.(*journalConn).fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 30<<10)
	fds := openFDs(t)
	l.Info("small")
	l.Info("large", "k", big)
	if e := entry(t, j); e.Memfd || message(e) != "small" {
		t.Errorf("first came %q", message(e))
	}
	e := entry(t, j)
	if v, _ := e.Get("K"); !e.Memfd || v != big {
		t.Errorf("memfd %v, %d bytes of %d", e.Memfd, len(v), len(big))
	}

	if _, err := j.Fill(); err != nil {
		t.Fatal(err)
	}
	l.Info("large", "k", big)
	if n := sink.Flush(); n != 1 {
		t.Errorf("%d wait, want the large one", n)
	}
	entries(t, j)
	sink.Flush()
	if e := entry(t, j); !e.Memfd {
		t.Error("the large record came as a datagram")
	}
	if n := openFDs(t); n != fds {
		t.Errorf("%d descriptors are open, %d before", n, fds)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(dir)
}

// TestJournalReplaced: records wait while systemd-journald.socket is
// restarted, and go to the new one.
func TestJournalReplaced(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	l.Info("before")
	entry(t, j)
	j.Close()
	os.Remove(j.Path)
	l.Info("nobody there")
	if n := sink.Flush(); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
	j2, err := sdtest.ListenJournal(j.Path)
	if err != nil {
		t.Fatal(err)
	}
	defer j2.Close()
	l.Info("after")
	if a, b := message(entry(t, j2)), message(entry(t, j2)); a != "nobody there" || b != "after" {
		t.Errorf("the new journal got %q, %q", a, b)
	}
	j2.Close()
	os.Remove(j.Path)
	l.Info("lost")
	begin := time.Now()
	if n := sink.Close(patient); n != 1 || time.Since(begin) > patient/2 {
		t.Errorf("Close() = %d after %v: nobody is there to wait for", n, time.Since(begin))
	}
}

// TestJournalConcurrent: records of several goroutines come whole and once,
// and each goroutine's in order.
func TestJournalConcurrent(t *testing.T) {
	l, sink, j := fakeJournal(t, Options{})
	const writers, each = 4, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			l := l.With("w", w)
			for i := range each {
				l.Info("m", "i", i)
			}
		})
	}
	finished := make(chan struct{})
	go func() {
		wg.Wait()
		close(finished)
	}()
	var next [writers]int
	for total := 0; total < writers*each; {
		sink.Flush()
		e, err := j.Recv(10 * time.Millisecond)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		w, _ := e.Get("W")
		i, _ := e.Get("I")
		n, err := strconv.Atoi(w)
		if err != nil || n >= writers || i != strconv.Itoa(next[n]) {
			t.Fatalf("got %q, want i=%d", e.Fields, next)
		}
		next[n]++
		total++
	}
	<-finished
}
