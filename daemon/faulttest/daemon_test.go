// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A host is what outlives a daemon: its sockets, its file and its folder.
type host struct {
	t       *testing.T
	dir     string
	backend string
	names   []string
	files   []*os.File
	at      map[string]net.Addr // by socket name; echo has a second one, echo-unix
	env     []string            // of the daemon, beside what every one gets
	tracer  []string            // runs the daemon; nil: nothing does
	manager *manager            // the service manager that is played; nil: none
	change  [2]string           // of the file, for a reload: what is replaced, and by what
}

const configuration = `
[log]
level = "debug"
[limits]
%s
[loop]
backend = %q
[service.echo]
kind = "echo"
listen = [%q, %q]
` + otherServices

// otherServices are in the file of every host.
const otherServices = `[service.lookup]
kind = "lookup"
listen = [%q]
delimiter = "?"
answers = { "who" = "Arthur, King of the Britons" }
[service.room]
kind = "room"
listen = [%q]
welcome = "welcome"
message = "{line}"
[service.handler]
kind = "handler"
listen = [%q]
command = [%q]
error = "failed"
`

// newHost opens the sockets and writes the file. limits are lines of [limits].
func newHost(t *testing.T, backend, limits string) *host {
	h := &host{t: t, dir: t.TempDir(), backend: backend, at: map[string]net.Addr{}}
	h.listen("echo", "echo", "tcp", "127.0.0.1:0")
	h.listen("echo-unix", "echo", "unix", filepath.Join(h.dir, "echo"))
	h.listen("lookup", "lookup", "tcp", "127.0.0.1:0")
	h.listen("room", "room", "unix", filepath.Join(h.dir, "room"))
	h.listen("handler", "handler", "unix", filepath.Join(h.dir, "handler"))
	h.program()
	h.check(os.WriteFile(h.path("penstock.toml"), fmt.Appendf(nil, configuration, limits, backend,
		h.at["echo"], h.at["echo-unix"], h.at["lookup"], h.at["room"], h.at["handler"], h.path("program")), 0o600))
	return h
}

// program puts the handler's program where the file says: a file of its own,
// to be watched.
func (h *host) program() {
	cat, err := os.ReadFile("/bin/cat")
	h.check(err)
	h.check(os.WriteFile(h.path("program"), cat, 0o755))
}

func (h *host) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) path(name string) string { return filepath.Join(h.dir, name) }

func (h *host) listen(key, name, network, address string) {
	ln, err := net.Listen(network, address)
	h.check(err)
	h.t.Cleanup(func() { _ = ln.Close() })
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	h.check(err)
	h.t.Cleanup(func() { _ = f.Close() })
	h.at[key] = ln.Addr()
	h.names, h.files = append(h.names, name), append(h.files, f)
}

// add puts a further service into the file, behind a TCP socket.
func (h *host) add(name, lines string) {
	h.t.Helper()
	h.listen(name, name, "tcp", "127.0.0.1:0")
	b, err := os.ReadFile(h.path("penstock.toml"))
	h.check(err)
	b = fmt.Appendf(b, "[service.%s]\nlisten = [%q]\n%s", name, h.at[name], lines)
	h.check(os.WriteFile(h.path("penstock.toml"), b, 0o600))
}

// A daemon is one process.
type daemon struct {
	h      *host
	cmd    *exec.Cmd
	ending chan struct{} // closed when nobody has its standard error any more
	done   chan struct{} // closed when it has ended

	followers sync.WaitGroup // of its manager

	mu    sync.Mutex // guards the following
	lines []string
	more  chan struct{} // closed and replaced with each line
}

// start begins a daemon and waits until it serves. wrap goes in front of the
// command.
func (h *host) start(wrap ...string) *daemon {
	h.t.Helper()
	d := h.spawn(wrap...)
	d.await("daemon ready")
	return d
}

func (h *host) spawn(wrap ...string) *daemon {
	h.t.Helper()
	d := &daemon{h: h, ending: make(chan struct{}), done: make(chan struct{}), more: make(chan struct{})}
	self, err := os.Executable()
	h.check(err)
	path, err := filepath.Abs(*binary)
	h.check(err)
	argv := append(append(append(wrap, self), h.tracer...), path, "run", "-c", h.path("penstock.toml"))
	d.cmd = exec.Command(argv[0], argv[1:]...)
	d.cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(h.names, ":"), "NOTIFY_SOCKET=", "JOURNAL_STREAM=")
	d.cmd.Env = append(d.cmd.Env, h.env...)
	d.cmd.ExtraFiles = h.files
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS} // see place
	if h.names == nil {
		d.cmd.SysProcAttr.Unshareflags |= unix.CLONE_NEWNET // no port is another's
	}
	stderr, err := d.cmd.StderrPipe()
	h.check(err)
	h.check(d.cmd.Start())
	go d.collect(bufio.NewScanner(stderr))
	if h.manager != nil {
		h.manager.follow(d)
	}
	h.t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		<-d.done
		d.followers.Wait()
	})
	return d
}

func (d *daemon) collect(s *bufio.Scanner) {
	for s.Scan() {
		d.heard(s.Text())
	}
	close(d.ending)
	_ = d.cmd.Wait()
	close(d.done)
}

// heard adds a line of the log.
func (d *daemon) heard(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
	close(d.more)
	d.more = make(chan struct{})
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// log returns the lines that match.
func (d *daemon) log(re string) (found []string) {
	match := regexp.MustCompile(re)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lines {
		if match.MatchString(l) {
			found = append(found, l)
		}
	}
	return found
}

func (d *daemon) all() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, "\n")
}

// logIfFailed shows the log of a daemon to whoever has to find out what it did.
func (d *daemon) logIfFailed() {
	if d.h.t.Failed() {
		d.h.t.Logf("log of the daemon:\n%s", d.all())
	}
}

// says waits until n lines match, and reports whether they came.
func (d *daemon) says(n int, re string) bool {
	deadline := time.After(patience)
	for {
		d.mu.Lock()
		more := d.more
		d.mu.Unlock()
		if len(d.log(re)) >= n {
			return true
		}
		select {
		case <-more:
		case <-d.done:
			return len(d.log(re)) >= n
		case <-deadline:
			return false
		}
	}
}

func (d *daemon) await(re string) {
	d.h.t.Helper()
	if !d.says(1, re) {
		d.h.t.Fatalf("no line matches %q:\n%s", re, d.all())
	}
}

// ended waits for the end of the process and returns its status.
func (d *daemon) ended() (status int, ok bool) {
	select {
	case <-d.done:
		d.followers.Wait()
		return d.cmd.ProcessState.ExitCode(), true
	case <-time.After(patience):
		return 0, false
	}
}

func (d *daemon) alive() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// stop ends the daemon in order, and fails if that does not work.
func (d *daemon) stop() {
	d.h.t.Helper()
	d.h.check(d.cmd.Process.Signal(unix.SIGTERM))
	if status, ok := d.ended(); !ok || status != 0 {
		d.h.t.Fatalf("SIGTERM: ended %v with status %d\n%s", ok, status, d.all())
	}
}

// calm fails if the daemon, which has nothing to do, uses the processor. A
// moment in which it does not is enough: it may have had a back-off to finish.
func (d *daemon) calm() {
	d.h.t.Helper()
	const window, tries = 50 * time.Millisecond, 40
	for range tries {
		before := d.processor()
		select {
		case <-time.After(window):
		case <-d.done:
			return
		}
		if d.processor()-before < window/5 {
			return
		}
	}
	d.h.t.Errorf("the daemon spins\n%s", d.all())
}

// processor is how long its threads have run.
func (d *daemon) processor() time.Duration {
	ran, _ := d.schedstat()
	return ran
}

// schedstat is how long its threads have run, and how long they would have if
// the processors had not been taken (/proc/PID/schedstat in proc(5)).
func (d *daemon) schedstat() (ran, waited time.Duration) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", d.pid()))
	for _, name := range tasks {
		var r, w time.Duration
		if b, err := os.ReadFile(name); err == nil {
			_, _ = fmt.Sscan(string(b), (*int64)(&r), (*int64)(&w))
		}
		ran, waited = ran+r, waited+w
	}
	return ran, waited
}

// state is what the daemon says of itself and of a service (SIGUSR1).
func (d *daemon) state(service string) string {
	d.h.t.Helper()
	d.h.check(d.cmd.Process.Signal(unix.SIGUSR1))
	of := "service state.*service=" + service
	d.await(of)
	return strings.Join(append(d.log("(^| )state phase="), d.log(of)...), "\n")
}

// child is the process that the daemon has started.
func (d *daemon) child() (pid int) {
	d.h.t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", d.pid()))
	for _, name := range tasks {
		b, err := os.ReadFile(name)
		d.h.check(err)
		if n, _ := fmt.Sscan(string(b), &pid); n == 1 {
			return pid
		}
	}
	d.h.t.Fatalf("no child in %v", tasks)
	return 0
}

// kill ends the daemon at once.
func (d *daemon) kill() {
	_ = d.cmd.Process.Kill()
	<-d.done
}
