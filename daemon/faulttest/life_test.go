// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unitHost is a host whose daemon a unit has started, with folders of its own.
func unitHost(t *testing.T, backend string) *host {
	h := newHost(t, backend, "")
	h.addRest()
	h.check(os.Mkdir(h.path("run"), 0o755))
	h.check(os.Mkdir(h.path("state"), 0o755))
	h.env = []string{"RUNTIME_DIRECTORY=" + h.path("run"), "STATE_DIRECTORY=" + h.path("state")}
	h.change = h.renewal("")
	return h
}

const byHand = `
[log]
level = "debug"
[loop]
backend = %q
[service.echo]
kind = "echo"
listen = [%q, "127.0.0.1:7"]
bind_device = "lo"
socket_user = "0"
` + otherServices

// handHost is a host whose daemon opens its sockets itself: Unix sockets, one of
// them in the place of a left-over, and TCP in a network of its own.
func handHost(t *testing.T, backend string) *host {
	h := &host{t: t, dir: t.TempDir(), backend: backend, at: map[string]net.Addr{}}
	for _, name := range []string{"echo", "lookup", "room", "handler"} {
		h.at[name] = &net.UnixAddr{Name: h.path("sockets/" + name), Net: "unix"}
	}
	h.at["echo-unix"] = h.at["echo"]
	h.program()
	h.check(os.WriteFile(h.path("penstock.toml"), fmt.Appendf(nil, byHand, backend,
		h.at["echo"], h.at["lookup"], h.at["room"], h.at["handler"], h.path("program")), 0o600))
	h.change = h.renewal(fmt.Sprintf("[service.more]\nkind = \"echo\"\nlisten = [%q, \"127.0.0.1:8\"]\n", h.path("more/folders/echo")))
	return h
}

// renewal is a change by which another program takes the place of the handler's, with
// another service behind it.
func (h *host) renewal(more string) [2]string {
	const end = "]\nerror = \"failed\"\n"
	command := fmt.Sprintf("command = [%q", h.path("program"))
	return [2]string{command + end, command + ", \"-\"" + end + more}
}

// leftOver leaves the file of a socket that nobody serves.
func (h *host) leftOver() {
	h.check(os.MkdirAll(h.path("sockets"), 0o755))
	_ = os.Remove(h.path("sockets/echo"))
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.path("sockets/echo"), Net: "unix"})
	h.check(err)
	ln.SetUnlinkOnClose(false)
	h.check(ln.Close())
	_ = os.RemoveAll(h.path("more"))
}

// TestInjectLife has calls fail from the start of the process to its end: in the
// start, in two reloads, or in the stop. The process serves in the end, or it has
// ended with a status that is not 0 and a line that names the error.
func TestInjectLife(t *testing.T) {
	need(t, "strace")
	play := newSchedule(t, *duration/4)
	for _, l := range lives {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			h := l.host(t, l.backend)
			play.all(t, l.calls, l.backend, func(t *testing.T, i injection) int {
				h.t = t
				return h.injectLife(i)
			})
		})
	}
}

// injectLife plays one injection and returns how many calls failed.
func (h *host) injectLife(i injection) int {
	s := &tracer{h: h, trace: h.path("trace"), name: i.name}
	h.tracer = slices.Concat([]string{"strace", "-D", "-I1", "-qq"}, i.options(s.trace))
	if h.names == nil {
		h.leftOver()
	}
	d := h.spawn()
	h.tracer = nil
	defer d.logIfFailed()
	if h.begins(d, i) {
		h.endure(d, i)
		h.reloads(d, i)
		h.endure(d, i)
		h.finishes(d, i)
	}
	return s.hits()
}

// begins waits until the daemon serves. It may end instead, and then says why.
func (h *host) begins(d *daemon, i injection) bool {
	switch {
	case d.says(1, "daemon ready"):
		return true
	case d.alive():
		h.t.Error("the start hangs")
		d.kill()
	default:
		h.gaveUp(d, i)
	}
	return false
}

// byRuntime are the last words of the Go runtime, which cannot live without
// some calls, and does not name the error of each.
const byRuntime = `^(runtime: |fatal error: |panic: |strace: )`

// gaveUp fails unless a daemon that has ended has named the error.
func (h *host) gaveUp(d *daemon, i injection) {
	status, ok := d.ended()
	said := d.log(`(daemon failed|configuration mistake) .*` + i.text())
	if !ok || status == 0 || len(said)+len(d.log(byRuntime)) == 0 {
		h.t.Errorf("ended %v with status %d and named nothing", ok, status)
	}
}

// named reports whether the log has the error.
func (d *daemon) named(i injection) bool { return len(d.log(i.text())) > 0 }

// text is the error as the log has it, or what it leads to.
func (i injection) text() string {
	text := regexp.QuoteMeta(i.errno.Error())
	if i.also != "" {
		return "(" + text + "|" + i.also + ")"
	}
	return text
}

// endure visits the services. A client may be ended or left waiting, if the log
// names the error.
func (h *host) endure(d *daemon, i injection) {
	for _, s := range sockets {
		if !d.alive() || strings.TrimSuffix(s, "-unix") == i.spares {
			continue
		}
		var said wrongError
		if err := h.patientVisit(d, s, i); err == nil {
			continue
		} else if errors.As(err, &said) || d.alive() && !i.leaves && !d.says(1, i.text()) {
			h.t.Errorf("under the injection: %v", err)
		}
	}
}

// patientVisit waits for as long as the log does not say why it is in vain.
func (h *host) patientVisit(d *daemon, socket string, i injection) error {
	c, err := h.dial(socket)
	if err != nil {
		return err
	}
	defer c.Close()
	done := make(chan error, 1)
	go func() { done <- c.visit() }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Second):
			if d.named(i) || !d.alive() {
				_ = c.Close()
				return <-done
			}
		}
	}
}

// reloads changes the file and changes it back.
func (h *host) reloads(d *daemon, i injection) {
	old, now := h.change[0], h.change[1]
	for n := range 2 {
		h.edit(old, now)
		old, now = now, old
		if !d.alive() {
			continue
		}
		_ = d.cmd.Process.Signal(unix.SIGHUP)
		if !d.says(n+1, `configuration (applied|refused)`) && d.alive() {
			h.t.Errorf("reload %d hangs", n+1)
		}
	}
	if refused := d.log("configuration refused|configuration mistake"); len(refused) > 0 && !d.named(i) {
		h.t.Errorf("refused: %s", refused[0])
	}
}

// finishes ends the daemon: under the injection if that goes on for ever, and
// otherwise when it has shown that it still serves.
func (h *host) finishes(d *daemon, i injection) {
	if d.alive() && !strings.Contains(i.when, "+") {
		d.release()
		if d.calm(); len(d.log("listener (failed|missing)")) == 0 && !i.leaves {
			h.serves(i.spares)
		}
	}
	if d.alive() {
		_ = d.cmd.Process.Signal(unix.SIGTERM)
	}
	switch status, ok := d.ended(); {
	case !ok:
		if d.kill(); !i.leaves {
			h.t.Error("SIGTERM: the daemon does not end")
		}
	case status != 0:
		h.gaveUp(d, i)
	}
}

// release ends the tracing of the daemon.
func (d *daemon) release() {
	tracer := d.tracer()
	if tracer == 0 {
		return
	}
	_ = unix.Kill(tracer, unix.SIGTERM)
	if !until(func() bool { return d.tracer() == 0 }) {
		d.h.t.Fatal("strace does not let go")
	}
}

// tracer is the process that traces the daemon, or 0.
func (d *daemon) tracer() (pid int) {
	status, _ := os.ReadFile(filepath.Join("/proc", itoa(d.pid()), "status"))
	if m := regexp.MustCompile(`TracerPid:\s+(\d+)`).FindSubmatch(status); m != nil {
		_, _ = fmt.Sscan(string(m[1]), &pid)
	}
	return pid
}
