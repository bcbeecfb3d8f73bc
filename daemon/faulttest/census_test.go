// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"bufio"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// What a life of the daemon looks like to strace -f. Threads and the children
// between clone(2) and execve(2) are the daemon's; so is the stub, which is the
// daemon's own image. What the stub becomes is somebody else's program, under
// the number of the process, whichever thread has called execve(2).
//
//	21623 execve("bin/penstock", ["bin/penstock", "run", ...
//	21631 socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC|SOCK_NONBLOCK, 0 <unfinished ...>
//	21631 <... socket resumed>)             = 9
//	21640 execve("/tmp/program", ["/tmp/program"], ... <unfinished ...>
//	21637 +++ superseded by execve in pid 21640 +++
//	21637 <... execve resumed>)             = 0
var (
	called     = regexp.MustCompile(`^(\d+) +([a-z_][a-z0-9_]*)\(`)
	becomes    = regexp.MustCompile(`^(\d+) +execve\("([^"]*)"`)
	superseded = regexp.MustCompile(`^(\d+) \+\+\+ superseded by execve in pid (\d+)`)
	became     = regexp.MustCompile(`^(\d+) +(?:execve\(|<\.\.\. execve resumed>).* = 0$`)
	notOpen    = regexp.MustCompile(`^(\d+) +(?:close\(|<\.\.\. close resumed>).* = -1 EBADF`)
)

// firstOfC is the first call of a program that uses the C library; a program in
// Go without it makes none. It marks a program whose execve(2) was told in yet
// another way.
const firstOfC = "brk"

// callsOf counts the system calls that the daemon has made, by name. One that closes what
// is not open is an error: a moment later the number may be that of somebody's connection.
func (h *host) callsOf(trace string) map[string]int {
	h.t.Helper()
	f, err := os.Open(trace)
	h.check(err)
	defer f.Close()
	counts, foreign, next := map[string]int{}, map[string]bool{}, map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if m := becomes.FindStringSubmatch(line); m != nil {
			next[m[1]] = m[2] == h.path("program")
		}
		if m := called.FindStringSubmatch(line); m != nil && !foreign[m[1]] {
			if m[2] == firstOfC {
				foreign[m[1]] = true
				continue
			}
			counts[m[2]]++
		}
		if m := notOpen.FindStringSubmatch(line); m != nil && !foreign[m[1]] {
			h.t.Errorf("the daemon closes what is not open: %s", line)
		}
		if m := superseded.FindStringSubmatch(line); m != nil {
			next[m[1]] = next[m[2]]
		}
		if m := became.FindStringSubmatch(line); m != nil {
			foreign[m[1]] = next[m[1]]
		}
	}
	return counts
}

// exempt are calls of the daemon that are not made to fail, with the reason.
var exempt = map[string]string{
	"arch_prctl":        "the runtime: sets a thread up",
	"chdir":             "in the new process of an exec: its client is told by the end, TestExecNotStarted",
	"clock_gettime":     "cannot fail: the clock is a constant, and known since Linux 2.6",
	"clone3":            "the runtime: a thread; where it is not known, clone",
	"close_range":       "in the new process of an exec: what it closes, execve closes too",
	"exit":              "does not return",
	"exit_group":        "does not return",
	"futex":             "the runtime: its locks and its sleep; it ends the process for an error",
	"getpid":            "cannot fail",
	"geteuid":           "cannot fail",
	"gettid":            "cannot fail",
	"madvise":           "the runtime: a hint about memory",
	"munmap":            "at the end of the process, which gives back all",
	"nanosleep":         "the runtime: a thread that looks after others, and a pause that may be short",
	"pread64":           "the runtime: the share of processors that its cgroup may use; without it, all",
	"prctl":             "the runtime: a name for a piece of memory",
	"restart_syscall":   "the kernel: goes on with a sleep that was stopped",
	"rt_sigaction":      "the runtime: it ends the process for an error, since signals are its preemption",
	"rt_sigprocmask":    "the runtime: as rt_sigaction",
	"rt_sigreturn":      "the runtime: the end of a signal handler",
	"sched_getaffinity": "the runtime: how many processors there are; without it, one",
	"sched_yield":       "cannot fail",
	"sigaltstack":       "the runtime: as rt_sigaction",
	"tgkill":            "the runtime: the signal by which a goroutine is preempted; without it, later",
}

// listed reports whether a call is made to fail by one of the tests.
func listed(name string) bool {
	is := func(c call) bool { return c.name == name }
	if slices.ContainsFunc(slices.Concat(calls, journalCalls, stderrCalls), is) {
		return true
	}
	for _, l := range lives {
		if slices.ContainsFunc(l.calls, is) {
			return true
		}
	}
	return false
}

// TestCensus: the daemon makes no system call, from its exec to its end, that
// is not in the tables of those that are made to fail, or exempt, and closes
// nothing twice. The reverse of the former, a row that nothing makes, is found by
// the tests that play the tables.
func TestCensus(t *testing.T) {
	need(t, "strace")
	forBackends(t, func(t *testing.T, backend string) {
		for name, host := range map[string]func(*testing.T, string) *host{"unit": managedHost, "hand": handHost} {
			t.Run(name, func(t *testing.T) {
				h := host(t, backend)
				h.addMore()
				h.tracer = []string{"strace", "-D", "-f", "-qq", "-s", "200", "-o", h.path("trace")}
				h.live()
				for name, n := range h.callsOf(h.path("trace")) {
					switch why, ok := exempt[name]; {
					case listed(name) && ok:
						t.Errorf("%s is listed, and exempt: %s", name, why)
					case !listed(name) && !ok:
						t.Errorf("%s: called %d times, and neither listed nor exempt", name, n)
					}
				}
			})
		}
	})
}

// addMore adds a service that starts a program for each client, and one that passes on what
// they send, where sockets are passed.
func (h *host) addMore() {
	if h.names != nil {
		h.addRelay("relay", echoes)
		h.add("exec", fmt.Sprintf("kind = \"exec\"\ncommand = [%q]\ndirectory = \"/\"\n", h.path("program")))
	}
}

// live is a life of a daemon in which all that it can do is asked of it.
func (h *host) live() {
	if h.names == nil {
		h.leftOver()
	}
	d := h.start()
	guests := h.guests()
	if lost := h.traffic(guests, injection{}); len(lost) > 0 {
		h.t.Errorf("clients were ended: %v\n%s", lost, d.all())
	}
	for service, visit := range map[string]func(*client) error{"exec": (*client).visit, "relay": (*client).relayed} {
		if err := h.stayRest(service, visit); err != nil {
			h.t.Errorf("%v\n%s", err, d.all())
		}
	}
	d.state("echo")
	h.check(unix.Kill(d.child(), unix.SIGKILL))
	if !d.says(2, "program started") {
		h.t.Fatalf("no second program\n%s", d.all())
	}
	h.reloads(d, injection{})
	h.serves()
	h.check(d.cmd.Process.Signal(unix.SIGTERM))
	for _, g := range guests {
		_ = g.Close()
	}
	if status, ok := d.ended(); !ok || status != 0 {
		h.t.Errorf("ended %v with status %d\n%s", ok, status, d.all())
	}
}
