// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock/evloop/evlooptest"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// The commands of the scripts. Each waits for what it names and fails after
// patience, so that no script has to sleep:
//
//	port VAR                      VAR is a TCP port of loopback that is free now
//	expand FILE...                puts $WORK and $PORT into the files, no other $,
//	                              and the back end of the loop behind them
//	listen NAME ADDR              a socket to be passed on; $NAME is where it is
//	start [-n FILES] [-p NAMES] [-e KEY=VALUE] [-i INJECTION] PROC ARG...
//	                              penstock ARG... in the background; -n limits
//	                              its open files, -p passes sockets, a:b, and
//	                              a socket for notifications, -i has strace(1)
//	                              change what system calls do
//	await PROC REGEXP             a line of its output
//	notified REGEXP               a message to the service manager
//	signal PROC NAME
//	nofile PROC N                 lowers its limit of open files
//	lease FILE                    makes the reading of FILE, and its start, wait
//	wanted FILE                   somebody reads or starts it and waits
//	release FILE                  gives the lease back
//	pid VAR PROC                  VAR is its number
//	exited PROC STATUS
//	dial CONN ADDR, send CONN TEXT, recv CONN TEXT, shut CONN, hangup CONN
//	exchange CONN N TEXT          sends TEXT and receives it, N times
//	flood CONN N TEXT             sends it N times, in the background
//	stuff CONN TEXT               sends it until the server reads no more
//	eof CONN                      the server ends the connection
//	refused ADDR                  it does so at once
const patience = evlooptest.Patience

// A world is what one script has made.
type world struct {
	procs    map[string]*proc
	conns    map[string]net.Conn
	sockets  map[string]*os.File
	notify   *transcript
	notifyAt string
	backend  string // for the files that expand goes through
	leases   map[string]*os.File
	wanted   chan os.Signal // somebody wants one of them back
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *world { return ts.Value(worldKey{}).(*world) }

func newWorld(env *testscript.Env, backend string) error {
	w := &world{
		procs: map[string]*proc{}, conns: map[string]net.Conn{}, sockets: map[string]*os.File{},
		leases:  map[string]*os.File{},
		backend: backend, notify: newTranscript(), notifyAt: filepath.Join(env.WorkDir, "notify"),
	}
	env.Values[worldKey{}] = w
	pc, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: w.notifyAt, Net: "unixgram"})
	if err != nil {
		return err
	}
	go w.notify.datagrams(pc)
	env.Defer(func() {
		for _, p := range w.procs {
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		for _, c := range w.conns {
			_ = c.Close()
		}
		for _, f := range w.sockets {
			_ = f.Close()
		}
		for _, f := range w.leases {
			_ = f.Close()
		}
		_ = pc.Close()
	})
	return nil
}

// A transcript collects lines and lets one goroutine wait for one.
type transcript struct {
	mu    sync.Mutex // guards the following
	lines []string
	next  int           // first line that no await has consumed
	more  chan struct{} // closed and replaced when a line is added
	over  bool
}

func newTranscript() *transcript { return &transcript{more: make(chan struct{})} }

func (t *transcript) add(line string, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !over {
		t.lines = append(t.lines, line)
	}
	t.over = over
	close(t.more)
	t.more = make(chan struct{})
}

func (t *transcript) reader(r io.Reader, done *sync.WaitGroup) {
	s := bufio.NewScanner(r)
	for s.Scan() {
		t.add(s.Text(), false)
	}
	done.Done()
}

func (t *transcript) datagrams(c *net.UnixConn) {
	b := make([]byte, 4096)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		t.add(string(b[:n]), false)
	}
}

// await returns the first line not yet consumed that matches.
func (t *transcript) await(re *regexp.Regexp) bool {
	deadline := time.After(patience)
	for {
		t.mu.Lock()
		for t.next < len(t.lines) {
			t.next++
			if re.MatchString(t.lines[t.next-1]) {
				t.mu.Unlock()
				return true
			}
		}
		more, over := t.more, t.over
		t.mu.Unlock()
		if over {
			return false
		}
		select {
		case <-more:
		case <-deadline:
			return false
		}
	}
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}

type proc struct {
	cmd  *exec.Cmd
	out  *transcript
	done chan struct{} // closed when it has ended
}

func start(ts *testscript.TestScript, _ bool, args []string) {
	w := worldOf(ts)
	var names, files, injection string
	var asked []string // comes last, so that it counts
	env := append(os.Environ(), "NOTIFY_SOCKET=", "LISTEN_FDS=", "XDG_RUNTIME_DIR="+ts.Getenv("WORK"))
	for len(args) > 1 && args[0][0] == '-' {
		switch args[0] {
		case "-p":
			names = args[1]
		case "-n":
			files = args[1]
		case "-i":
			injection = args[1]
		case "-e":
			asked = append(asked, args[1])
		}
		args = args[2:]
	}
	argv := append([]string{"penstock"}, args[1:]...)
	if names != "" {
		argv[0] = "activated"
		list := strings.Split(names, ":")
		env = append(env, "LISTEN_FDS="+strconv.Itoa(len(list)), "LISTEN_FDNAMES="+names, "NOTIFY_SOCKET="+w.notifyAt)
	}
	if files != "" {
		argv = append([]string{"prlimit", "--nofile=" + files, "--"}, argv...)
	}
	if injection != "" { // -D: the process that is signalled is penstock
		call, _, _ := strings.Cut(injection, ":")
		argv = append([]string{"strace", "-D", "-f", "-qq", "-o", os.DevNull, "-e", "trace=" + call, "-e", "inject=" + injection}, argv...)
	}
	p := &proc{cmd: exec.Command(argv[0], argv[1:]...), out: newTranscript(), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = ts.MkAbs("."), append(env, asked...)
	for name := range strings.SplitSeq(names, ":") {
		if f := w.sockets[name]; f != nil {
			p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, f)
		}
	}
	ts.Check(p.run())
	w.procs[args[0]] = p
}

// run starts the process and collects both of its outputs.
func (p *proc) run() error {
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	var readers sync.WaitGroup
	readers.Add(2)
	go p.out.reader(stdout, &readers)
	go p.out.reader(stderr, &readers)
	go func() {
		readers.Wait()
		_ = p.cmd.Wait()
		p.out.add("", true)
		close(p.done)
	}()
	return nil
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	p := worldOf(ts).procs[args[0]]
	if !p.out.await(regexp.MustCompile(args[1])) {
		ts.Fatalf("%s did not say %q; it said\n%v", args[0], args[1], p.out)
	}
}

func notified(ts *testscript.TestScript, _ bool, args []string) {
	if n := worldOf(ts).notify; !n.await(regexp.MustCompile(args[0])) {
		ts.Fatalf("no notification matches %q; there were\n%v", args[0], n)
	}
}

func signalProc(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(worldOf(ts).procs[args[0]].cmd.Process.Signal(unix.SignalNum(args[1])))
}

func nofile(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	ts.Check(unix.Prlimit(worldOf(ts).procs[args[0]].cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}, nil))
}

func pid(ts *testscript.TestScript, _ bool, args []string) {
	ts.Setenv(args[0], strconv.Itoa(worldOf(ts).procs[args[1]].cmd.Process.Pid))
}

func exited(ts *testscript.TestScript, _ bool, args []string) {
	p := worldOf(ts).procs[args[0]]
	select {
	case <-p.done:
	case <-time.After(patience):
		ts.Fatalf("%s is still running; it said\n%v", args[0], p.out)
	}
	if got := strconv.Itoa(p.cmd.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s exited with %v, want %s; it said\n%v", args[0], p.cmd.ProcessState, args[1], p.out)
	}
	// What it said can now be looked at with stdout.
	_, _ = io.WriteString(ts.Stdout(), p.out.String())
}
