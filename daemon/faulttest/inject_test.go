// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// strands reports whether a newcomer may be left waiting.
func (i injection) strands() bool { return i.leaves || slices.Contains(i.deafens, i.errno) }

// TestInject has each call of the loop fail in each way, and looks at the
// clients before, meanwhile and afterwards. Each time is a new daemon, so that
// the log's limits never hide a line.
func TestInject(t *testing.T) {
	need(t, "strace")
	play := newSchedule(t, *duration/2)
	forBackends(t, func(t *testing.T, backend string) {
		h := newHost(t, backend, "")
		h.addRest()
		h.addRelay("relay", echoes)
		play.all(t, calls, backend, func(t *testing.T, i injection) int {
			h.t = t
			return h.inject(i)
		})
	})
}

// inject plays one injection and returns how many calls failed.
func (h *host) inject(i injection) (hit int) {
	d := h.start()
	defer d.logIfFailed()
	d.await("program started") // it has its pipes
	i.on = d.pipe(i.on)
	first, before := d, d.files()
	if i.relays {
		before += 2 // the pipe of the loop, which is made once
	}
	guests := h.guests()
	s := h.attach(d, i)
	lost := make(chan map[string]int, 1)
	go func() { lost <- h.traffic(guests, i) }()
	if i.signal != 0 {
		go d.nag(i.signal)
	}
	select {
	case <-d.ending: // the next one takes whoever waits, as under systemd
		hit = s.detach() // a tracer keeps a process with threads from being reaped
		h.mayEnd(d, i)
		d = h.start()
		<-lost
	case l := <-lost:
		hit = s.detach()
		d = h.afterwards(d, i, l)
	}
	for _, g := range guests {
		_ = g.Close()
	}
	h.serves(i.spares)
	if i.leaves { // what was left open never ends
		_ = d.cmd.Process.Kill()
		_, _ = d.ended()
		return hit
	}
	if d == first {
		d.keepsNoMore(before)
	}
	d.stop()
	return hit
}

// pipe returns the kernel's name of a pipe that on stands for, and on if it stands for none.
func (d *daemon) pipe(on string) string {
	of, fd := 0, "" // a process, and its descriptor
	switch on {
	case programInput:
		of, fd = d.child(), "0"
	case programOutput:
		of, fd = d.child(), "1"
	case logOutput:
		of, fd = d.pid(), "2"
	default:
		return on
	}
	name, err := os.Readlink("/proc/" + itoa(of) + "/fd/" + fd)
	d.h.check(err)
	return name
}

// files is how many descriptors the daemon has.
func (d *daemon) files() int {
	entries, err := os.ReadDir("/proc/" + itoa(d.pid()) + "/fd")
	d.h.check(err)
	return len(entries)
}

// keepsNoMore fails if the daemon, whose clients are gone, keeps more descriptors
// than before they came.
func (d *daemon) keepsNoMore(before int) {
	d.h.t.Helper()
	if !until(func() bool { return d.files() <= before }) {
		d.h.t.Errorf("%d descriptors are open, %d were before\n%s", d.files(), before, d.all())
	}
}

// nag sends a signal some times.
func (d *daemon) nag(signal unix.Signal) {
	for range 10 {
		_ = d.cmd.Process.Signal(signal)
		select {
		case <-d.done:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// afterwards looks at the daemon when the fault is over, and returns the one
// that should serve from now on: another, where this one was allowed to end or
// to lose a listener.
func (h *host) afterwards(d *daemon, i injection, lost map[string]int) *daemon {
	if len(lost) > 0 && slices.Contains(i.ends, i.errno) {
		_, _ = d.ended() // that is why
	}
	if !d.alive() {
		h.mayEnd(d, i)
		return h.start()
	}
	h.explained(d, i, lost)
	d.calm()
	if h.deaf(d, i) {
		d.stop()
		return h.start()
	}
	return d
}

// guests are clients that were there before the fault.
func (h *host) guests() (all []*client) {
	for _, s := range []string{"echo", "echo", "echo-unix", "echo-unix", "lookup", "handler"} {
		c, err := h.dial(s)
		if err == nil {
			err = c.round()
		}
		if err != nil {
			h.t.Fatalf("before the fault: %v", err)
		}
		all = append(all, c)
	}
	return all
}

// traffic has all guests and some newcomers speak at once. It returns how many
// of each service were ended.
func (h *host) traffic(guests []*client, i injection) map[string]int {
	var mu sync.Mutex
	lost := map[string]int{}
	note := func(service string, err error) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case service == i.spares:
		case errors.Is(err, errEnded):
			lost[service]++
		case i.strands() && errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			h.t.Error(err)
		}
	}
	var all sync.WaitGroup
	for _, g := range guests {
		all.Go(func() {
			for range 8 {
				if err := g.round(); err != nil {
					note(g.service(), err)
					return
				}
			}
		})
	}
	for _, s := range sockets {
		all.Go(func() { note(strings.TrimSuffix(s, "-unix"), h.stay(s, i)) })
	}
	for service, visit := range rest {
		for range 8 {
			all.Go(func() { note(service, h.stayRest(service, visit)) })
		}
	}
	for _, s := range []string{"echo", "echo-unix"} {
		all.Go(func() { note("echo", h.stayRest(s, (*client).flooded)) })
	}
	if i.relays {
		for range 8 {
			all.Go(func() { note("relay", h.stayRest("relay", (*client).relayed)) })
		}
	}
	all.Go(h.reset)
	all.Wait()
	return lost
}

// stay is a visit under an injection.
func (h *host) stay(socket string, i injection) error {
	most := patience
	if i.strands() {
		most = time.Second
	}
	c, err := h.dialFor(socket, most)
	if err != nil {
		return err
	}
	return c.visit()
}

// stayRest is a visit of a service of addRest.
func (h *host) stayRest(socket string, visit func(*client) error) error {
	if h.at[socket] == nil {
		return nil
	}
	c, err := h.dial(socket)
	if err != nil {
		return err
	}
	defer c.Close()
	return visit(c)
}

// reset is a client that goes away by RST.
func (h *host) reset() {
	c, err := h.dial("echo")
	if err != nil {
		return
	}
	_, _ = c.Write(make([]byte, 1000))
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// explained fails unless there is a line for each client that was ended, with
// the call and the error.
func (h *host) explained(d *daemon, i injection, lost map[string]int) {
	says := i.says
	if says == "" {
		says = regexp.QuoteMeta(i.name)
	}
	for service, n := range lost {
		re := fmt.Sprintf(`service=%s .*(%s): %s`, service, says, regexp.QuoteMeta(i.errno.Error()))
		if i.also != "" {
			re += "|" + i.also
		}
		if !d.says(1, re) {
			h.t.Errorf("%d clients of %s were ended, and no line matches %q", n, service, re)
		}
	}
}

// mayEnd fails unless the daemon was allowed to end, and has said why.
func (h *host) mayEnd(d *daemon, i injection) {
	status, _ := d.ended()
	said := d.log(`daemon failed .*` + regexp.QuoteMeta(i.errno.Error()))
	// The runtime's own poller is hit too, and it knows no remedy either.
	said = append(said, d.log(`runtime: .*failed with|fatal error: runtime: netpoll`)...)
	if !slices.Contains(i.ends, i.errno) || len(said) == 0 || status == 0 {
		h.t.Errorf("%v: the daemon ended with status %d and said %q", i, status, said)
	}
}

// deaf reports whether listeners are lost, as this error allows.
func (h *host) deaf(d *daemon, i injection) bool {
	lines := d.log("listener failed.*" + regexp.QuoteMeta(i.errno.Error()))
	if len(lines) > 0 && !slices.Contains(i.deafens, i.errno) {
		h.t.Errorf("%v: a listener was given up: %s", i, lines[0])
	}
	return len(lines) > 0 || h.torn(d)
}

// A tracer is a strace that is attached to a daemon.
type tracer struct {
	h     *host
	cmd   *exec.Cmd
	trace string
	name  string // of the call
}

// attach returns when the calls of all threads are subject to the injection.
func (h *host) attach(d *daemon, i injection) *tracer {
	s := &tracer{h: h, trace: h.path("trace"), name: i.name}
	s.cmd = exec.Command("strace", append(i.options(s.trace), "-p", fmt.Sprint(d.pid()))...)
	stderr, err := s.cmd.StderrPipe()
	h.check(err)
	h.check(s.cmd.Start())
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "attached") {
			go func() {
				for lines.Scan() { // threads that come later
				}
			}()
			return s
		}
	}
	h.t.Fatalf("strace did not attach: %v", s.cmd.Wait())
	return nil
}

// detach ends the injection and returns how many calls were hit.
func (s *tracer) detach() int {
	_ = s.cmd.Process.Signal(unix.SIGTERM)
	hung := time.AfterFunc(time.Second, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait()
	hung.Stop()
	return s.hits()
}

// hits returns how many calls were hit.
func (s *tracer) hits() int {
	trace, err := os.ReadFile(s.trace)
	s.h.check(err)
	name := regexp.MustCompile(`(?m)^\d+ +(?:<\.\.\. )?` + s.name + `\b.*\(INJECTED\)`)
	return len(name.FindAll(trace, -1))
}
