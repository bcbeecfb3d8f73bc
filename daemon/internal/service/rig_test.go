// SPDX-License-Identifier: Apache-2.0

package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/device"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

const patience = evlooptest.Patience

// testTime is when daytime and time are asked.
var testTime = time.Unix(1795208133, 0)

// A rig is a service on a running loop, with a front that stands for the
// daemon: it makes sessions, sets options and notes how connections end.
type rig struct {
	t       testing.TB
	loop    *evloop.Loop
	conf    *config.Service
	opts    *evloop.Options
	svc     Service
	log     *recorder
	lastID  uint64
	took    func([]byte) // hears on the loop what a call of Data has consumed; nil: not needed
	dropped atomic.Int64
	held    atomic.Bool // Env.Hold
	records *report.Log
	lost    map[report.Reason]int // on the loop
	beside  int                   // on the loop
	changes int                   // calls of Env.Changed, on the loop
	via     *Via                  // through which clients come; nil: none
	ended   chan error            // of each connection, as it closes
}

// serve runs a service of the keys in text, which is the body of a
// [service.x] table without "listen". tune may change what New made.
func serve(t testing.TB, text string, tune ...func(*rig)) *rig {
	t.Helper()
	return serveConf(t, parse(t, text), tune...)
}

func parse(t testing.TB, text string) *config.Service {
	t.Helper()
	cfg, err := config.Parse("test.toml", []byte("[service.x]\nlisten=[\"127.0.0.1:7\"]\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Services[0]
}

func serveConf(t testing.TB, conf *config.Service, tune ...func(*rig)) *rig {
	t.Helper()
	return serveLoop(t, conf, evloop.Config{Memory: 64 << 20}, tune...)
}

// serveLoop is serveConf on a loop of its own bounds.
func serveLoop(t testing.TB, conf *config.Service, bounds evloop.Config, tune ...func(*rig)) *rig {
	t.Helper()
	loop, err := evloop.New(bounds)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, loop: loop, conf: conf, log: newRecorder(), lost: map[report.Reason]int{}, ended: make(chan error, 1000)}
	r.records = report.New(slog.New(r.log), config.PeersFull, loop)
	env := Env{Loop: loop, Log: r.records.Service("x"), Now: func() time.Time { return testTime }, Lose: r.lose, Sending: func() {}, Changed: func() { r.changes++ }, Beside: func(n int) { r.beside += n }, Tune: func(int, uint64) {}, Hold: func(on bool) { r.held.Store(on) }, Folders: device.NewFolders(loop)}
	if r.svc, err = New(conf, env); err != nil {
		t.Fatal(err)
	}
	r.opts = Options(conf, r.svc)
	r.opts.IdleTimeout, r.opts.StallTimeout = 0, 0 // a test that is about them sets them
	if r.opts.Farewell != nil {
		r.opts.FarewellTimeout = patience
	}
	for _, f := range tune {
		f(r)
	}
	if s, ok := r.svc.(Starter); ok {
		s.Start()
	}
	t.Cleanup(func() { // when the loop is closed
		if s, ok := r.svc.(Stopper); ok {
			s.Stop(func() {})
		}
	})
	evlooptest.Run(t, loop)
	return r
}

// unstarted reports whether the status says that a program cannot be started. It is for
// the loop.
func (r *rig) unstarted() bool {
	var v view.Service
	r.svc.(Viewer).View(&v)
	return v.Unstarted
}

// unanswered reports whether the status says that a backend does not answer, as unstarted.
func (r *rig) unanswered() bool {
	var v view.Service
	r.svc.(Viewer).View(&v)
	return v.Unanswered
}

// do runs f on the loop and waits for it.
func (r *rig) do(f func()) {
	r.t.Helper()
	evlooptest.Do(r.t, r.loop, f)
}

// until lets the loop turn until cond, which is called on it, returns true.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	evlooptest.Until(r.t, r.loop, what, cond)
}

func (r *rig) lose(reason report.Reason, n int) { r.lost[reason] += n }

// wantLost compares what the service has counted as lost.
func (r *rig) wantLost(reason report.Reason, want int) {
	r.t.Helper()
	var got int
	r.do(func() { got = r.lost[reason] })
	if got != want {
		r.t.Errorf("%d messages lost by %s, want %d", got, reason, want)
	}
}

func (r *rig) Open(c *evloop.Conn)              { c.SetOptions(r.opts); r.svc.Open(c) }
func (r *rig) EOF(c *evloop.Conn)               { r.svc.EOF(c) }
func (r *rig) Drained(c *evloop.Conn)           { r.svc.Drained(c) }
func (r *rig) Closed(c *evloop.Conn, err error) { r.svc.Closed(c, err); r.ended <- err }
func (r *rig) Data(c *evloop.Conn, p []byte) int {
	n := r.svc.Data(c, p)
	if r.took != nil {
		r.took(p[:n])
	}
	return n
}

func (r *rig) Dropped(c *evloop.Conn, n, bytes int) {
	r.dropped.Add(int64(n))
	if d, ok := r.svc.(evloop.Dropper); ok {
		d.Dropped(c, n, bytes)
	}
}

// Relay is for a service that passes on what its clients send.
func (r *rig) Relay(c *evloop.Conn) *evloop.Conn {
	if s, ok := r.svc.(evloop.Relayer); ok {
		return s.Relay(c)
	}
	return nil
}

// wantEnd waits for the next connection that ends and compares the reason.
func (r *rig) wantEnd(want error) {
	r.t.Helper()
	select {
	case err := <-r.ended:
		if !errors.Is(err, want) {
			r.t.Errorf("closed with %v, want %v", err, want)
		}
	case <-time.After(patience):
		r.t.Errorf("not closed, want the end by %v", want)
	}
}

// session returns a new session with an address that tests can expect: the
// n-th client is 192.0.2.1 with port 4000+n.
func (r *rig) session() *Session {
	r.lastID++
	peer := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), uint16(4000+r.lastID))
	return NewSession(r.lastID, view.Peer{Addr: peer}, r.loop.Now(), &Owner{Via: r.via})
}

// A testClient is the other end of a connection.
type testClient struct {
	t    testing.TB
	conn *net.UnixConn
	id   evloop.ConnID
}

// dial connects a client by a pair of Unix sockets.
func (r *rig) dial() *testClient { r.t.Helper(); return r.dialBy("unix") }

// dialBy is dial by another network.
func (r *rig) dialBy(network string) *testClient {
	r.t.Helper()
	cl, fd := r.unknown(network)
	r.add(cl, fd)
	return cl
}

// dialWith is dial by a client that has spoken before the loop knows of it. However
// busy the machine is, it is not idle before that.
func (r *rig) dialWith(text string) *testClient {
	r.t.Helper()
	cl, fd := r.unknown("unix")
	cl.send(text)
	r.add(cl, fd)
	return cl
}

// unknown returns a client and the descriptor that add is to give to the loop.
func (r *rig) unknown(network string) (cl *testClient, fd int) {
	r.t.Helper()
	fd, peer := evlooptest.Pair(r.t, network)
	return &testClient{t: r.t, conn: peer.(*net.UnixConn)}, fd
}

func (r *rig) add(cl *testClient, fd int) {
	r.t.Helper()
	r.do(func() {
		c, err := r.loop.Add(fd, r, r.session())
		if err != nil {
			r.t.Error(err)
			return
		}
		cl.id = c.ID()
	})
}

func (c *testClient) send(s string) {
	c.t.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.t.Fatalf("send %.40q: %v", s, err)
	}
}

// A patient connection gives up when no byte has come for so long, however long all of
// it takes.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	if err := p.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// want reads exactly these bytes.
func (c *testClient) want(s string) {
	c.t.Helper()
	got := make([]byte, len(s))
	n, err := io.ReadFull(patient{c.conn}, got)
	if string(got[:n]) != s {
		c.t.Fatalf("got %q (%v)\nwant %q", got[:n], err, s)
	}
}

// wantEOF reads the end, and nothing before it.
func (c *testClient) wantEOF() {
	c.t.Helper()
	if got := c.rest(); got != "" {
		c.t.Errorf("got %q before the end, want nothing", got)
	}
}

// rest reads to the end.
func (c *testClient) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(patient{c.conn})
	if err != nil && !errors.Is(err, unix.ECONNRESET) {
		c.t.Fatalf("read to the end: %v", err)
	}
	return string(b)
}

// shut sends FIN, as nc -N does at the end of its input.
func (c *testClient) shut() {
	c.t.Helper()
	if err := c.conn.CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// A recorder is a slog.Handler that tests can wait on.
type recorder struct {
	mu      sync.Mutex
	cond    *sync.Cond
	records []string
}

func newRecorder() *recorder {
	r := new(recorder)
	r.cond = sync.NewCond(&r.mu)
	return r
}

func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler       { return r }
func (r *recorder) WithGroup(string) slog.Handler            { return r }

func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	var b strings.Builder
	b.WriteString(rec.Message)
	rec.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s=%v", a.Key, a.Value); return true })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.records = append(r.records, b.String())
	r.cond.Broadcast()
	return nil
}

// wait returns the n-th record that contains text, counted from 1.
func (r *recorder) wait(t testing.TB, text string, n int) string {
	t.Helper()
	timer := time.AfterFunc(patience, r.cond.Broadcast)
	defer timer.Stop()
	deadline := time.Now().Add(patience)
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		left := n
		for _, s := range r.records {
			if strings.Contains(s, text) {
				if left--; left == 0 {
					return s
				}
			}
		}
		if !time.Now().Before(deadline) {
			t.Fatalf("%d records with %q do not come; there are:\n%s", n, text, strings.Join(r.records, "\n"))
		}
		r.cond.Wait()
	}
}

func (r *recorder) count(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.records {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}
