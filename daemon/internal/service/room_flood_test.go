// SPDX-License-Identifier: Apache-2.0

package service

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// How a room that is flooded treats members that read slowly depends on the time: it
// waits for none longer than paceHalt. A machine that is busy may hold a reader up for as
// long. So each reader measures how long it was held up, and a test in which that was
// too long shows nothing and is done again.

// readSlowly takes n bytes, at most so many a second. It returns the longest time
// between two reads as well.
func (c *testClient) readSlowly(n, perSecond int) (halt time.Duration, err error) {
	const slice = 5 * time.Millisecond
	buf := make([]byte, perSecond*int(slice)/int(time.Second))
	tick := time.NewTicker(slice)
	defer tick.Stop()
	last := time.Now()
	for got := 0; got < n; {
		<-tick.C
		halt, last = max(halt, time.Since(last)), time.Now()
		c.conn.SetReadDeadline(last.Add(patience))
		k, err := c.conn.Read(buf[:min(len(buf), n-got)])
		if got += k; err != nil {
			return halt, fmt.Errorf("a reader got %d of %d bytes: %w", got, n, err)
		}
	}
	return halt, nil
}

// One member floods the room. Members that read steadily, if slowly, get all of
// it, because the flooding one waits. A member that does not read at all pays
// alone, and even many of those do not stop a room for longer than a moment.
func TestRoomFloodSparesReaders(t *testing.T) {
	for _, tt := range []struct {
		name           string
		readers, stuck int
	}{
		{"three steady readers", 3, 0},
		{"one steady reader", 1, 0},
		{"three, and one who does not read", 3, 1},
		{"one, and three who do not read", 1, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// The room may cut a reader that this machine has held up for as
			// long as the room waits for anybody. That shows nothing.
			for range 8 {
				halt, err := flood(t, tt.readers, tt.stuck)
				switch {
				case err == nil:
					return
				case halt < paceHalt/2:
					t.Fatal(err)
				}
				t.Logf("again, a reader was held up for %v: %v", halt, err)
			}
			t.Skip("this machine is too busy for a reader to be steady")
		})
	}
}

// flood has one member flood the others. It returns an error of a reader, and
// for how long one of them was held up.
func flood(t *testing.T, readers, stuck int) (halt time.Duration, err error) {
	t.Helper()
	const total = 3 << 20
	r := serve(t, "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\"\necho_to_sender=false")
	var idle []*testClient
	for range stuck {
		idle = append(idle, r.dial())
	}
	type result struct {
		halt time.Duration
		err  error
	}
	done := make(chan result, readers)
	for range readers {
		c := r.dial()
		go func() {
			halt, err := c.readSlowly(total, 2<<20)
			done <- result{halt, err}
		}()
	}
	flooder := r.dial()
	go flooder.conn.Write([]byte(strings.Repeat(strings.Repeat("x", 127)+"\n", total/128)))
	for range readers {
		one := <-done
		halt, err = max(halt, one.halt), errors.Join(err, one.err)
	}
	if err != nil {
		return halt, err
	}
	r.do(func() {})
	for _, c := range idle {
		if got := c.rest(); !strings.HasSuffix(got, "ERR you read too slowly, goodbye\n") {
			t.Errorf("one who does not read was not cut: %d bytes", len(got))
		}
	}
	return halt, nil
}

// A member that halts for a moment, while most of the others read, is waited for:
// a flood would fill its queue in some milliseconds.
func TestRoomFloodWaitsForOneThatHalts(t *testing.T) {
	// One that this machine has held up for longer than the moment is not waited for.
	for range 8 {
		halt, err := floodOneThatHalts(t)
		switch {
		case err == nil:
			return
		case halt < paceHalt:
			t.Fatal(err)
		}
		t.Logf("again, the one that halted was held up for %v: %v", halt, err)
	}
	t.Skip("this machine is too busy for a moment that is short enough")
}

// floodOneThatHalts returns an error of a reader, and for how long the one that halts
// took nothing.
func floodOneThatHalts(t *testing.T) (halt time.Duration, err error) {
	const flood = 128
	line := strings.Repeat("x", 1023) + "\n"
	r := serve(t, "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\"\necho_to_sender=false")
	halts, speaker := r.dial(), r.dial()
	var others []*testClient
	for range 4 {
		others = append(others, r.dial())
	}
	said, last := 0, time.Now()
	for full := false; !full; said++ {
		speaker.send(line)
		for _, c := range others {
			if _, err := c.take(len(line), last); err != nil {
				t.Fatal(err)
			}
		}
		r.do(func() {
			queued := r.loop.Conn(halts.id).Queued()
			if full = queued > r.conf.Queue/2; queued == 0 {
				last = time.Now()
			}
		})
	}
	go speaker.conn.Write([]byte(strings.Repeat(line, flood)))
	done := make(chan error, len(others))
	for _, c := range others {
		go func() {
			_, err := c.take(flood*len(line), last)
			done <- err
		}()
	}
	r.until("the flood", func() bool { return r.loop.Conn(speaker.id).BytesIn() > uint64(said*len(line)) })
	if halt, err = halts.take((said+flood)*len(line), last); err != nil {
		err = fmt.Errorf("the one that halted: %w", err)
		speaker.conn.Close() // the others wait for a flood that may be cut
		r.do(func() {
			for c := range r.loop.Conns() {
				c.Abort(nil)
			}
		})
	}
	for range others {
		if other := <-done; err == nil {
			err = other
		}
	}
	return halt, err
}

// take reads n bytes, and returns the longest time between two reads, or from last to
// the first.
func (c *testClient) take(n int, last time.Time) (halt time.Duration, err error) {
	for buf := make([]byte, 64<<10); n > 0 && err == nil; {
		var got int
		got, err = patient{c.conn}.Read(buf[:min(n, len(buf))])
		n -= got
		halt, last = max(halt, time.Since(last)), time.Now()
	}
	return halt, err
}
