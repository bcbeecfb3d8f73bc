// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"crypto/sha256"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOneShots(t *testing.T) {
	tests := []struct{ name, conf, want string }{
		{"daytime", `kind="daytime"`, "20 NOV 2026 20:55:33 UTC\r\n"},
		{"time", `kind="time"`, "\xee\xab\x32\x45"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := serve(t, tt.conf)
			c := r.dial()
			c.want(tt.want) // the server speaks first
			c.wantEOF()
			c.conn.Close()
			r.wantEnd(nil)
		})
	}
}

func TestQuotes(t *testing.T) {
	say := quotes([]string{"one", "two\nlines", "three"})
	want := map[string]bool{"one\n": true, "two\nlines\n": true, "three\n": true}
	seen := map[string]bool{}
	for range 1000 {
		q := string(say())
		if !want[q] {
			t.Fatalf("says %q", q)
		}
		seen[q] = true
	}
	if len(seen) != len(want) {
		t.Errorf("%d of %d quotes in a thousand", len(seen), len(want))
	}
}

func TestQuoteIsSentAndOver(t *testing.T) {
	r := serve(t, `kind="qotd"`)
	c := r.dial()
	if got := c.rest(); !strings.HasSuffix(got, "\n") || len(got) > 512 {
		t.Errorf("got %q", got)
	}
}

func TestDiscard(t *testing.T) {
	r := serve(t, `kind="discard"`)
	c := r.dial()
	c.send(strings.Repeat("x", 1<<20))
	c.shut()
	c.wantEOF()
	r.wantEnd(nil)
}

func TestChargen(t *testing.T) {
	c := serve(t, `kind="chargen"`).dial()
	line := func(first int) string {
		var b strings.Builder
		for i := range 72 {
			b.WriteByte(byte(' ' + (first+i)%95))
		}
		return b.String() + "\r\n"
	}
	if want := ` !"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\]^_` + "`abcdefg\r\n"; line(0) != want {
		t.Fatalf("the test expects %q", line(0))
	}
	for i := range 5000 { // several queues, and the pattern some fifty times
		c.want(line(i % 95))
	}
}

// A client that never reads costs one full queue.
func TestChargenWaitsForItsClient(t *testing.T) {
	for _, conf := range []string{"queue=4096", "queue=4096\noverflow=\"disconnect\"", "queue=\"200KiB\""} {
		r := serve(t, "kind=\"chargen\"\n"+conf)
		c := r.dial()
		c.want(` !"#$`)
		full := make(chan int)
		var look func()
		look = func() {
			if conn := r.loop.Conn(c.id); conn.Full() {
				full <- conn.Queued()
			} else {
				r.loop.Post(look)
			}
		}
		r.loop.Post(look)
		if n := <-full; n > r.conf.Queue {
			t.Errorf("%s: %d bytes queued", conf, n)
		}
		c.conn.Close()
		r.wantEnd(unix.EPIPE)
	}
}

// A client that sends much and reads late gets every byte in order, and holds
// no more memory than its queue and one read.
func TestEchoIsBoundedAndLossless(t *testing.T) {
	r := serve(t, `kind="echo"`)
	c := r.dial()
	const size = 8 << 20
	in := make([]byte, size)
	for i := range in {
		in[i] = byte(i * i >> 7)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		c.conn.Write(in)
		c.conn.CloseWrite()
	}()
	most, stuck, last := 0, 0, uint64(0)
	r.until("a stand of the echo", func() bool {
		conn := r.loop.Conn(c.id)
		most = max(most, conn.Queued())
		if n := conn.BytesIn(); n != last {
			last, stuck = n, 0
		} else if conn.Full() {
			stuck++
		}
		return stuck == 1000
	})
	if limit := r.conf.Queue + 64<<10; most > limit {
		t.Errorf("%d bytes queued, want at most %d", most, limit)
	}
	h := sha256.New()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	n, err := io.Copy(h, c.conn)
	<-sent
	if want := sha256.Sum256(in); err != nil || n != size || !bytes.Equal(h.Sum(nil), want[:]) {
		t.Errorf("%d bytes came back (%v), want the %d that were sent", n, err, size)
	}
}
