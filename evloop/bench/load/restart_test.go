// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestRestart: a pause that begins when the load asks for it is found by all clients
// and by the fresh connections, and is not counted as one of the window before.
func TestRestart(t *testing.T) {
	const pause = 150 * time.Millisecond
	got := paused(t, pause)
	for tries := 1; tries < 8 && got.Calm.Longest >= pause/2; tries++ {
		t.Logf("again, this machine has made a pause of its own: %+v", got.Calm)
		got = paused(t, pause)
	}
	// A turn of the load passes between the last delivery and the pause.
	if got.Restart.Longest < pause*9/10 || got.Restart.P99 < pause*9/10 || got.Restart.P99 > got.Restart.Longest {
		t.Errorf("pauses of %+v, want %v", got.Restart, pause)
	}
	if got.Restart.Fresh == 0 || got.Calm.Fresh == 0 || got.Refused != 0 {
		t.Errorf("fresh connections %v, %v, %d refused", got.Calm.Fresh, got.Restart.Fresh, got.Refused)
	}
	if got.Calm.Longest == 0 || got.Calm.Longest >= got.Restart.Longest || got.Ops == 0 {
		t.Errorf("before it pauses of %+v, %d messages", got.Calm, got.Ops)
	}
}

// paused measures a server that answers nobody for a while when the load asks for a
// restart.
func paused(t *testing.T, pause time.Duration) Result {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	var paused atomic.Pointer[chan struct{}]
	go func() {
		if _, err := r.Read(make([]byte, 1)); err != nil {
			return
		}
		until := make(chan struct{})
		paused.Store(&until)
		time.AfterFunc(pause, func() { close(until) })
	}()
	o := Options{Mode: Restart, Network: "tcp", Conns: 20, Size: 64, Pipeline: 1, Due: int(w.Fd()), Window: 2 * pause}
	o.Address = serve(t, o.Network, func(c net.Conn) {
		buf := make([]byte, 100)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if until := paused.Load(); until != nil {
				<-*until
			}
			c.Write(buf[:n])
		}
	})
	got, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestRestartFindsFaults: whatever a restart could do to a stream shows, also at its end.
func TestRestartFindsFaults(t *testing.T) {
	const short = 100 * time.Millisecond // for those that wait in vain
	over := make(chan struct{})
	defer close(over)
	// after serves the first messages well, and leaves the rest to then.
	after := func(then func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			if _, err := io.CopyN(c, c, 64*3); err == nil {
				then(c)
			}
		}
	}
	message := func(c net.Conn) []byte {
		p := make([]byte, 64)
		io.ReadFull(c, p)
		return p
	}
	tests := []struct {
		name  string
		serve func(net.Conn)
		want  string
	}{
		{"lost", after(func(c net.Conn) { message(c); io.Copy(c, c) }), "no end of the stream"},
		{"a byte lost", after(func(c net.Conn) { c.Write(message(c)[1:]); io.Copy(c, c) }), "not what was sent"},
		{"doubled", after(func(c net.Conn) { p := message(c); c.Write(p); c.Write(p); io.Copy(c, c) }), ""},
		{"reordered", after(func(c net.Conn) { p := message(c); c.Write(append(p[32:], p[:32]...)); io.Copy(c, c) }), "not what was sent"},
		{"of another client", after(func(c net.Conn) {
			p := message(c)
			stream(p, 7, 64*3)
			c.Write(p)
			io.Copy(c, c)
		}), "not what was sent"},
		{"closed", after(func(c net.Conn) { c.Write(message(c)[:10]) }), "closed"},
		{"closed between two messages", after(func(net.Conn) {}), "closed"},
		{"more at the end", func(c net.Conn) { io.Copy(c, c); c.Write(make([]byte, 1)) }, "more bytes"},
		{"no end", func(c net.Conn) { io.Copy(c, c); <-over }, "no end of the stream"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want == "no end of the stream" {
				defer func(before time.Duration) { patience = before }(patience)
				patience = short
			}
			o := Options{Mode: Restart, Network: "tcp", Conns: 2, Size: 64, Pipeline: 1, Window: 30 * time.Millisecond}
			o.Address = serve(t, o.Network, tt.serve)
			if _, err := Run(o); err == nil || !strings.Contains(err.Error(), tt.want) {
				// A reset may overtake the close.
				if tt.want != "closed" || err == nil {
					t.Errorf("Run = %v, want an error about %q", err, tt.want)
				}
			}
		})
	}
}

// TestStream: a stream is the same from every position, and no client's is another's.
func TestStream(t *testing.T) {
	whole := make([]byte, 200)
	stream(whole, 3, 0)
	for from := range len(whole) {
		part := make([]byte, len(whole)-from)
		stream(part, 3, uint64(from))
		if !bytes.Equal(part, whole[from:]) {
			t.Fatalf("from byte %d on it is another stream", from)
		}
		for other := range uint64(3) {
			if stream(part, other, uint64(from)); len(part) > 8 && bytes.Contains(whole, part[:8]) {
				t.Fatalf("eight bytes of client %d are those of client 3", other)
			}
		}
	}
}
