// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// DetachAll says of each connection that cannot be taken why, and the others
// leave.
func TestDetachAllLeavesWhatItMust(t *testing.T) {
	r := foundRig(t)
	dead, _ := r.unix()
	twice, _ := r.unix()
	unwilling, _ := socketPair(t, unix.SOCK_STREAM)
	keeps, err := r.l.Add(unwilling, &keeper{r.probe}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var carried []Carried
	r.do(func() {
		dead.Abort(nil)
		carried, _ = r.l.DetachAll([]*Conn{dead, twice, keeps, twice})
	})
	defer unix.Close(carried[1].FD)
	for i, want := range []error{ErrBusy, nil, errRefused, ErrBusy} {
		if got := carried[i].Err; !errors.Is(got, want) || want == nil && got != nil {
			t.Errorf("%d: %v, want %v", i, got, want)
		}
	}
	if r.of(keeps).closed || !r.of(twice).closed || r.of(twice).err != ErrDetached {
		t.Error("the one that stays has left, or the other way round")
	}
}

// A keeper does not let its connections go.
type keeper struct{ *probe }

func (*keeper) Saved(*Conn) ([]byte, error)  { return nil, errRefused }
func (*keeper) Restored(*Conn, []byte) error { return nil }

// A loop that is closed with a Restore under way closes what is back.
func TestCloseEndsARestore(t *testing.T) {
	r := foundRig(t)
	c, _ := r.unix()
	carried, messages := r.l.DetachAll([]*Conn{c})
	re, err := r.l.NewRestore(messages)
	if err != nil {
		t.Fatal(err)
	}
	c, err = re.Conn(carried[0].FD, r.probe, nil, nil, carried[0].Record)
	if err != nil {
		t.Fatal(err)
	}
	r.l.Close()
	re.Done()
	if h := r.of(c); !h.closed || h.err != ErrLoopClosed {
		t.Errorf("closed %t with %v, want %v", h.closed, h.err, ErrLoopClosed)
	}
	if _, err := r.l.NewRestore(messages); !errors.Is(err, ErrLoopClosed) {
		t.Errorf("NewRestore of a closed loop: %v, want %v", err, ErrLoopClosed)
	}
}

// What Dropped was not told yet is told in the next loop, once.
func TestRestoreTellsWhatWasDropped(t *testing.T) {
	r := foundRig(t)
	c, _ := r.unix()
	r.stick(c)
	o := &Options{Queue: 1, Overflow: DropNewest}
	c.SetOptions(o)
	var back *Conn
	r.do(func() {
		c.Write([]byte("one"))
		c.Write([]byte("two"))
		carried, messages := r.l.DetachAll([]*Conn{c})
		re, err := r.l.NewRestore(messages)
		if err != nil {
			t.Fatal(err)
		}
		if back, err = re.Conn(carried[0].FD, r.probe, nil, o, carried[0].Record); err != nil {
			t.Fatal(err)
		}
		re.Done()
	})
	r.until("Dropped", func() bool { return r.of(back).reports > 0 })
	r.turn()
	if old, h := r.of(c), r.of(back); old.reports > 0 || h.reports != 1 || h.messages != 2 || h.bytes != 6 || back.Dropped() != 2 {
		t.Errorf("told of %d messages in %d calls, and %d calls before; Dropped() %d; want 2 in 1, 0, 2", h.messages, h.reports, old.reports, back.Dropped())
	}
}

// BenchmarkRestart carries 8,000 connections over to another loop, with 64 bytes
// queued for each.
func BenchmarkRestart(b *testing.B) {
	for _, be := range backends {
		b.Run(be.name, func(b *testing.B) { benchRestart(b, be.open) })
	}
}

func benchRestart(b *testing.B, open func(Config) (*Loop, error)) {
	const clients = 8000
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r); r.Cur < 2*clients+100 {
		b.Skipf("RLIMIT_NOFILE is %d", r.Cur)
	}
	l, err := open(Config{Connections: clients})
	if err != nil {
		b.Skip(err)
	}
	defer func() { l.Close() }()
	h := &dataFunc{f: func(_ *Conn, p []byte) int { return len(p) }}
	line := bytes.Repeat([]byte("x"), 64)
	for range clients {
		c, _ := benchConn(b, l, nil)
		for unix.Send(c.FD(), make([]byte, 4096), unix.MSG_DONTWAIT) == nil {
		}
		c.h = h
		c.Write(line)
		l.enter()
		l.leave()
	}
	var out, in time.Duration
	entered := uint64(0)
	enters := func() uint64 {
		if u := ringOf(l); u != nil {
			return u.r.Enters()
		}
		return 0
	}
	for b.Loop() {
		for range 3 {
			if err := l.turn(false); err != nil {
				b.Fatal(err)
			}
		}
		conns := slices.Collect(l.Conns())
		before, start := enters(), time.Now()
		carried, messages := l.DetachAll(conns)
		out += time.Since(start)
		entered += enters() - before
		next, err := open(Config{Connections: clients})
		if err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		re, err := next.NewRestore(messages)
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range carried {
			if _, err := re.Conn(c.FD, h, nil, nil, c.Record); err != nil {
				b.Fatal(err)
			}
		}
		re.Done()
		in += time.Since(start)
		l.Close()
		l = next
	}
	b.ReportMetric(float64(out.Microseconds())/1000/float64(b.N), "ms/detach")
	b.ReportMetric(float64(entered)/float64(b.N), "enters/detach")
	b.ReportMetric(float64(in.Microseconds())/1000/float64(b.N), "ms/restore")
}
