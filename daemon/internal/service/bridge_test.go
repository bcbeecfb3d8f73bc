// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/report"
	"penstock/daemon/internal/view"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// A plug is where a test puts devices: a name, and what leads there.
type plug struct {
	t      *testing.T
	name   string
	master *os.File
	slave  *os.File // of our own: what is written while the daemon opens it anew is kept
}

func newPlug(t *testing.T) *plug { return &plug{t: t, name: filepath.Join(t.TempDir(), "tty")} }

// in plugs a device in.
func (p *plug) in() {
	p.t.Helper()
	var slave string
	p.master, slave = evlooptest.PTY(p.t)
	var err error
	if p.slave, err = os.OpenFile(slave, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Symlink(slave, p.name); err != nil {
		p.t.Fatal(err)
	}
}

// out unplugs it.
func (p *plug) out() {
	os.Remove(p.name)
	p.slave.Close()
	p.master.Close()
}

func (p *plug) says(s string) {
	p.t.Helper()
	if _, err := p.master.WriteString(s); err != nil {
		p.t.Fatal(err)
	}
}

// hears reads exactly these bytes from the other end.
func (p *plug) hears(s string) {
	p.t.Helper()
	got := make([]byte, len(s))
	n, err := io.ReadFull(p.master, got)
	if string(got[:n]) != s {
		p.t.Fatalf("the device got %q (%v), want %q", got[:n], err, s)
	}
}

// bridgeOn serves a bridge of the device, with the keys in text.
func bridgeOn(t *testing.T, bounds evloop.Config, p *plug, text string) *rig {
	t.Helper()
	if bounds.Memory == 0 {
		bounds.Memory = 64 << 20
	}
	return serveLoop(t, parse(t, fmt.Sprintf("kind='bridge'\ndevice=%q\n%s", p.name, text)), bounds, func(r *rig) {
		if s, ok := r.svc.(*bridge).source.(*deviceSource); ok {
			s.Times.First, s.Times.Most, s.Times.Flush = 5*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond
		}
	})
}

// bridgeUp is bridgeOn with a device that is there, and is open. At the end of the test it
// is unplugged before the loop ends.
func bridgeUp(t *testing.T, bounds evloop.Config, text string) (*plug, *rig) {
	t.Helper()
	p := newPlug(t)
	p.in()
	r := bridgeOn(t, bounds, p, text)
	t.Cleanup(p.out)
	r.untilUp(true)
	return p, r
}

func (r *rig) bridge() *bridge { return r.svc.(*bridge) }

// adjust gives the bridge of the device other keys.
func (r *rig) adjust(p *plug, text string) {
	r.t.Helper()
	conf := parse(r.t, fmt.Sprintf("kind='bridge'\ndevice=%q\n%s", p.name, text))
	r.do(func() { r.bridge().Adjust(conf) })
}

func (r *rig) untilUp(up bool) {
	r.t.Helper()
	r.until(fmt.Sprintf("a source that is up: %v", up), func() bool { return r.bridge().up == up })
}

// bothBackEnds runs f with loops of both sorts.
func bothBackEnds(t *testing.T, f func(t *testing.T, bounds evloop.Config)) {
	t.Run("epoll", func(t *testing.T) { f(t, evloop.Config{}) })
	t.Run("io_uring", func(t *testing.T) { f(t, evloop.Config{IOUring: &evloop.IOUring{}}) })
}

// TestBridge: everybody gets every line, a newcomer the last ones and then all, and half a
// line waits for its rest.
func TestBridge(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p := newPlug(t)
		p.in()
		r := bridgeOn(t, bounds, p, "history = 2")
		a := r.dial()
		r.untilUp(true)
		p.says("one\ntwo\nthree\nfo")
		a.want("one\ntwo\nthree\n")
		b := r.dial()
		b.want("two\nthree\n")
		p.says("ur\n")
		a.want("four\n")
		b.want("four\n")
		b.send("ignored\n")
		p.says("five\n")
		a.want("five\n")
		b.want("five\n")
		p.out()
	})
}

// TestBridgeUnplugged: clients stay while the device goes and comes, learn of it if they
// are to, and what they send meanwhile is counted.
func TestBridgeUnplugged(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		p := newPlug(t)
		r := bridgeOn(t, bounds, p, "write = 'any'\nnotice = '# device {state}'")
		a, b := r.dial(), r.dial()
		r.untilAbsent()
		a.send("lost\n")
		r.log.wait(t, "message for an absent source dropped", 1)
		r.wantLost(report.LostAbsent, 1)
		p.in()
		r.untilUp(true)
		a.want("# device back\n") // its banner would have been "absent"
		b.want("# device back\n")
		for round := range 2 {
			a.send("x\n")
			p.hears("x\n")
			p.says("before\nha")
			a.want("before\n")
			b.want("before\n")
			r.until("half a line", func() bool { return len(r.bridge().cut.part) > 0 })
			p.out()
			a.want("# device gone\n")
			b.want("# device gone\n")
			r.wantLost(report.LostUnfinished, round+1)
			p.in()
			a.want("# device back\n")
			b.want("# device back\n")
			p.says("after\n")
			a.want("after\n")
			b.want("after\n")
		}
		p.out()
	})
}

// TestBridgeClosesOnLoss: with on_loss = "close" the clients get what was said, and the
// end.
func TestBridgeClosesOnLoss(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "on_loss = 'close'")
	a := r.dial()
	p.says("last\n")
	a.want("last\n")
	p.out()
	a.wantEOF()
	a.conn.Close()
	r.wantEnd(ErrSourceGone)
	p.in()
	r.untilUp(true)
	b := r.dial()
	p.says("first\n")
	b.want("first\n")
}

// TestBridgeSlowClient: a client that does not read delays nobody and stops nothing. It
// loses whole lines, the oldest.
func TestBridgeSlowClient(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "queue = 4096")
	quick, stuck := r.dial(), r.dial()
	const lines = 3000
	line := func(i int) string { return fmt.Sprintf("line %06d of the device\n", i) }
	for i := range lines {
		p.says(line(i))
		quick.want(line(i))
	}
	if r.dropped.Load() == 0 {
		t.Fatal("the client that does not read has lost nothing")
	}
	last := line(lines - 1)
	stuck.conn.SetReadDeadline(time.Now().Add(patience))
	got := ""
	for b := make([]byte, 64<<10); !strings.HasSuffix(got, last); {
		n, err := stuck.conn.Read(b)
		if err != nil {
			t.Fatalf("%v after %d bytes", err, len(got))
		}
		got += string(b[:n])
	}
	before := -1
	for l := range strings.Lines(got) {
		var i int
		if n, err := fmt.Sscanf(l, "line %06d of the device\n", &i); n != 1 || err != nil || i <= before || l != line(i) {
			t.Fatalf("line %q after number %d", l, before)
		}
		before = i
	}
}

// TestBridgeCommand: a program is a source like a device. What clients send is its input,
// and another one takes its place when it ends.
func TestBridgeCommand(t *testing.T) {
	bothBackEnds(t, func(t *testing.T, bounds evloop.Config) {
		bounds.Memory = 64 << 20
		r := serveLoop(t, parse(t, "kind='bridge'\nwrite='any'\nnotice='# {state}'\nhistory=1\n"+
			`command=["/bin/sh","-c","while read -r m; do [ \"$m\" = end ] && { printf half; exit; }; echo \"$$ $m\"; done"]`), bounds,
			func(r *rig) { r.svc.(*bridge).source.(*programSource).program.Times = quickly })
		a := r.dial()
		b := r.dial()
		said := func(text string) string {
			t.Helper()
			a.send(text + "\n")
			pid := ""
			for c := make([]byte, 1); !strings.HasSuffix(pid, " "); {
				a.conn.SetReadDeadline(time.Now().Add(patience))
				if _, err := a.conn.Read(c); err != nil {
					t.Fatal(err)
				}
				pid += string(c)
			}
			a.want(text + "\n")
			b.want(pid + text + "\n")
			return pid
		}
		first := said("one")
		a.send("end\n")
		a.want("# gone\n# back\n")
		b.want("# gone\n# back\n")
		second := said("two")
		if first == second {
			t.Error("the same program answers")
		}
		r.dial().want(second + "two\n")
	})
}

// TestBridgeCommandSurroundings: a program has its variables and its folder, and another
// one runs in its place when they change.
func TestBridgeCommandSurroundings(t *testing.T) {
	text := "kind='bridge'\nwrite='any'\ncommand=['/bin/sh','-c','while read -r m; do echo \"$m $X $PWD\"; done']\n"
	r := serve(t, text+"env={X='y'}\ndirectory='/usr'", func(r *rig) { r.svc.(*bridge).source.(*programSource).program.Times = quickly })
	a := r.dial()
	a.send("one\n")
	a.want("one y /usr\n")
	r.do(func() { r.svc.(Adjuster).Adjust(parse(t, text+"env={X='z'}\ndirectory='/'")) })
	a.send("two\n")
	a.want("two z /\n")
}

// TestBridgeCommandThatCannotRun: a message for it is counted, and does not wait.
func TestBridgeCommandThatCannotRun(t *testing.T) {
	r := serve(t, "kind='bridge'\nwrite='any'\ncommand=['/nonexistent/program']")
	a := r.dial()
	a.send("x\n")
	r.log.wait(t, "program not started", 1)
	r.until("the loss", func() bool { return r.lost[report.LostAbsent] == 1 })
}

// TestBridgeCommandWithoutInput: a program that closes its input is a source all the same,
// and what clients send comes to nothing.
func TestBridgeCommandWithoutInput(t *testing.T) {
	r := serveLoop(t, parse(t, "kind='bridge'\nwrite='any'\ndrain_timeout='1h'\nnotice='# {state}'\n"+
		`command=["/bin/sh","-c","read -r m; exec <&-; echo $m; while :; do sleep 0.01; echo on; done"]`), evloop.Config{Memory: 64 << 20},
		func(r *rig) { r.svc.(*bridge).source.(*programSource).program.Times = quickly })
	a := r.dial()
	a.send("go\n")
	a.want("go\non\n")
	r.until("the end of its input", func() bool { return !r.bridge().source.(*programSource).program.Running() })
	a.send("in vain\n")
	r.until("the loss", func() bool { return r.lost[report.LostAbsent] == 1 })
	a.want("on\non\non\n")
	r.do(func() {
		if v := r.bridge().source.View(); v.State != "up" {
			t.Errorf("its state is %s", v.State)
		}
	})
	quiet := parse(t, "kind='bridge'\ncommand=['/bin/sleep','3600']\ndrain_timeout='1h'")
	r.do(func() { r.bridge().source.Renew(quiet) })
	r.do(func() {
		if got := r.bridge().source.(*programSource).grace(time.Hour); got != 0 {
			t.Errorf("a program without input has %v to answer it", got)
		}
	})
}

// TestBridgeNoGap: what waited for a pause goes out when another configuration knows none.
func TestBridgeNoGap(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "delimiter = ''\ngap = '1m'")
	a := r.dial()
	p.says("half")
	r.until("the first bytes", func() bool { return len(r.bridge().cut.part) == 4 })
	r.adjust(p, "delimiter=''")
	a.want("half")
}

// TestBridgeGap: without a delimiter a pause ends a message.
func TestBridgeGap(t *testing.T) {
	p := newPlug(t)
	p.in()
	const keys = "delimiter = ''\nhistory = 1\nwrite = 'any'\nmax_line = 16\n"
	r := bridgeOn(t, evloop.Config{}, p, keys+"gap = '1m'")
	r.untilUp(true)
	a := r.dial()
	p.says("\x01\x03")
	r.until("the first bytes", func() bool { return len(r.bridge().cut.part) == 2 })
	p.says("\x02\n")
	r.until("the others", func() bool { return len(r.bridge().cut.part) == 4 })
	r.do(func() { // a minute passes
		g := &r.bridge().cut.gaps
		r.loop.Cancel(g.timer)
		g.until = r.loop.Now()
		r.bridge().Expired(r.loop, evloop.Timer{Kind: timerGap})
	})
	a.want("\x01\x03\x02\n")
	r.dial().want("\x01\x03\x02\n")
	r.adjust(p, keys+"gap = '10ms'")
	p.says("\x04") // and a pause by itself
	a.want("\x04")
	a.send("\x00\xff")
	p.hears("\x00\xff")
	p.says(strings.Repeat("y", 20))
	a.want(strings.Repeat("y", 20))
	r.do(func() {
		if n := r.bridge().cut.longs; n != 1 {
			t.Errorf("%d messages were too long, want 1", n)
		}
	})
	p.out()
}

// TestBridgeAdjust: a reload changes the source under its clients.
func TestBridgeAdjust(t *testing.T) {
	p, r := bridgeUp(t, evloop.Config{}, "notice = '# {state}'")
	a := r.dial()
	adjust := func(text string) {
		r.do(func() { r.bridge().Adjust(parse(t, "kind='bridge'\nnotice = '# {state}'\n"+text)) })
	}
	adjust(fmt.Sprintf("device=%q\nspeed=115200\nwrite='any'", p.name))
	a.send("waits until it is open again\n")
	p.hears("waits until it is open again\n")
	adjust("command=['/bin/cat']\nwrite='any'")
	a.want("# gone\n# back\n")
	a.send("cat\n")
	a.want("cat\n")
	adjust(fmt.Sprintf("device=%q\nwrite='any'", p.name))
	a.want("# gone\n# back\n")
	a.send("x\n")
	p.hears("x\n")
	p.says("y\n")
	a.want("y\n")
}

// TestBridgeView: a snapshot says where the source stands.
func TestBridgeView(t *testing.T) {
	p := newPlug(t)
	r := bridgeOn(t, evloop.Config{}, p, "max_line = 8")
	see := func() view.Source {
		var v view.Service
		r.do(func() { r.bridge().View(&v) })
		return *v.Source
	}
	r.untilAbsent()
	if got := see(); got.Name != p.name || got.State == "up" {
		t.Errorf("without a device: %+v", got)
	}
	a := r.dial()
	p.in()
	r.untilUp(true)
	p.says(strings.Repeat("x", 20))
	a.want(strings.Repeat("x", 20))
	want := view.Source{Name: p.name, State: "up", Traffic: view.Traffic{In: 20}, Long: 1}
	if got := see(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	p.out()
}
