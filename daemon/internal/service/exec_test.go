// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/process"
	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

// serveExec runs an exec of a shell script, with short waits.
func serveExec(t *testing.T, script, keys string) *rig {
	t.Helper()
	return serve(t, "kind=\"exec\"\ncommand=[\"/bin/sh\",\"-c\",'''"+script+"''']\n"+keys, func(r *rig) {
		r.execOf().times = process.Times{HangUp: 50 * time.Millisecond, Rest: time.Second}
	})
}

func (r *rig) execOf() *exec { return r.svc.(*exec) }

// jobs waits until so many programs run.
func (r *rig) jobs(n int) {
	r.t.Helper()
	r.until(fmt.Sprint(n, " programs"), func() bool { return len(r.execOf().jobs) == n })
}

// eachIO runs a test with the program between pipes, and with the client's connection.
func eachIO(t *testing.T, test func(t *testing.T, keys string)) {
	for _, how := range []string{"pipes", "socket"} {
		t.Run(how, func(t *testing.T) { test(t, "io=\""+how+"\"\n") })
	}
}

// TestExec: each client has a program of its own, which ends with it.
func TestExec(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		r := serveExec(t, "exec cat", keys)
		a, b := r.dial(), r.dial()
		a.send("one\n")
		b.send("two\x00\xff\n")
		b.want("two\x00\xff\n")
		a.want("one\n")
		r.jobs(2)
		a.shut()
		a.wantEOF()
		a.conn.Close()
		r.wantEnd(nil)
		r.jobs(1)
		r.log.wait(t, "status=exit status 0", 1)
		b.send("three\n")
		b.want("three\n")
	})
}

// TestExecTCP: the end of a program is an orderly end of the connection, also if it has
// not read what its client has sent: a reset would destroy the answer.
func TestExecTCP(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		r := serveExec(t, "echo answer", keys)
		fd, peer := evlooptest.Pair(t, "tcp")
		if _, err := peer.Write([]byte(strings.Repeat("x", 50_000))); err != nil {
			t.Fatal(err)
		}
		r.do(func() {
			if _, err := r.loop.Add(fd, r, r.session()); err != nil {
				t.Error(err)
			}
		})
		if got, err := io.ReadAll(peer); string(got) != "answer\n" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// TestExecHalfClose: what comes after the end of the input is sent, whole, also to a
// client that reads slowly.
func TestExecHalfClose(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		r := serveExec(t, "n=$(wc -c); echo $n; head -c 1000000 /dev/zero; echo end", keys+"queue=4096")
		c := r.dial()
		c.send(strings.Repeat("x", 300_000))
		c.shut()
		got := c.rest()
		if want := fmt.Sprintf("%d\n", 300_000) + strings.Repeat("\x00", 1_000_000) + "end\n"; got != want {
			t.Errorf("got %d bytes, want %d", len(got), len(want))
		}
	})
}

// TestExecEnds: the program's end is the client's. Its status and what it has said to the
// operator are in the log, with the client's number.
func TestExecEnds(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		r := serveExec(t, "echo bye; echo oops >&2; exit 3", keys)
		if got := r.dial().rest(); got != "bye\n" {
			t.Errorf("got %q", got)
		}
		r.log.wait(t, "status=exit status 3", 1)
		r.log.wait(t, "program wrote text=oops", 1)
		r.jobs(0)
	})
}

// TestExecClosesInput: a program that closes its input goes on, and so does its client.
func TestExecClosesInput(t *testing.T) {
	r := serveExec(t, "exec 0<&-; echo closed; while [ ! -e \"$F\" ]; do sleep 0.01; done; echo still here", "env={F=\""+t.TempDir()+"/go\"}")
	c := r.dial()
	c.want("closed\n")
	c.send(strings.Repeat("x", 300_000))
	f := r.execOf().keys.Env[0][2:]
	if err := os.WriteFile(f, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.rest(); got != "still here\n" {
		t.Errorf("got %q", got)
	}
}

// TestExecClosesOutput: a program that closes its output has its client know, and hears
// it to the end.
func TestExecClosesOutput(t *testing.T) {
	counted := t.TempDir() + "/counted"
	r := serveExec(t, "echo bye; exec 1>&-; wc -c > "+counted, "queue=4096")
	r.do(func() { r.execOf().times.HangUp = patience }) // it may take its time
	c := r.dial()
	if got := c.rest(); got != "bye\n" {
		t.Errorf("got %q", got)
	}
	c.send(strings.Repeat("x", 300_000))
	c.shut()
	r.jobs(0)
	if got, err := os.ReadFile(counted); string(got) != "300000\n" {
		t.Errorf("the program has read %q (%v) bytes, want 300000", got, err)
	}
	r.wantEnd(nil)
}

// TestExecClosesBoth: a client that its program neither tells nor asks anything more ends,
// whatever the program goes on to do.
func TestExecClosesBoth(t *testing.T) {
	r := serveExec(t, "exec 1>&-; read x; exec 0<&-; while :; do sleep 0.01; done", "")
	c := r.dial()
	c.wantEOF()
	c.send("\n")
	r.wantEnd(nil)
	r.jobs(0)
}

// TestExecClientGone: the program of a client that is gone ends, by force if need be.
func TestExecClientGone(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		for _, script := range []string{"exec cat", "trap 'exit 7' TERM; while :; do sleep 0.01; done", "trap '' TERM; while :; do sleep 0.01; done"} {
			r := serveExec(t, "echo up; "+script, keys)
			c := r.dial()
			c.want("up\n")
			r.do(func() { r.loop.Conn(c.id).Abort(nil) })
			r.jobs(0)
			r.log.wait(t, "program ended", 1)
		}
	})
}

// TestExecGroup: what a program has started ends with it.
func TestExecGroup(t *testing.T) {
	r := serveExec(t, "sleep 1000 & echo $!", "")
	c := r.dial()
	pid := strings.TrimSpace(c.rest()) // only when nobody holds the output any more
	if _, err := os.Stat("/proc/" + pid + "/cwd"); pid == "" || err == nil {
		t.Errorf("process %q is left", pid)
	}
}

// TestExecMaxChildren: further clients are held back, and each gets its turn, in the
// order in which they came, when a program has ended.
func TestExecMaxChildren(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		r := serveExec(t, "exec cat", keys+"max_children=2")
		var all []*testClient
		for range 5 {
			all = append(all, r.dial())
		}
		r.jobs(2)
		if !r.held.Load() {
			t.Error("further clients are let in")
		}
		for i, c := range all {
			c.send(fmt.Sprint(i, "\n"))
			c.want(fmt.Sprint(i, "\n"))
			r.do(func() {
				if n := len(r.execOf().jobs); n > 2 {
					t.Errorf("%d programs run, want 2 at most", n)
				}
			})
			c.shut()
			c.wantEOF()
			c.conn.Close()
		}
		r.jobs(0)
		if r.held.Load() {
			t.Error("clients are held back, and no program runs")
		}
	})
}

// TestExecCrowd: of many clients that come at once, a turn of the loop starts programs
// for a few, since each start makes everybody else wait.
func TestExecCrowd(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		const crowd = 3 * mostBegun
		r := serveExec(t, "exec cat", keys)
		var fds []int
		for range crowd {
			fd, _ := evlooptest.Pair(t, "unix")
			fds = append(fds, fd)
		}
		r.do(func() {
			for _, fd := range fds {
				if _, err := r.loop.Add(fd, r, r.session()); err != nil {
					t.Error(err)
				}
			}
			if n := len(r.execOf().jobs); n != mostBegun {
				t.Errorf("%d programs were started in a turn, want %d", n, mostBegun)
			}
			if !r.held.Load() {
				t.Error("further clients are let in")
			}
		})
		r.jobs(crowd)
		r.until("others to be let in", func() bool { return !r.held.Load() })
	})
}

// TestExecWaitingClientLeaves: a client that leaves before its turn has no program.
func TestExecWaitingClientLeaves(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		r := serveExec(t, "exec cat", keys+"max_children=1")
		a, b, c := r.dial(), r.dial(), r.dial()
		r.do(func() { r.loop.Conn(b.id).Abort(nil) })
		a.shut()
		a.wantEOF()
		a.conn.Close()
		c.send("c\n")
		c.want("c\n")
		if n := r.log.count("program started"); n != 2 {
			t.Errorf("%d programs were started, want 2", n)
		}
	})
}

// TestExecAdjust: a reload leaves clients what they have, those that wait too, and the
// next ones get the other program and the other io.
func TestExecAdjust(t *testing.T) {
	texts := map[string]string{}
	for _, how := range []string{"pipes", "socket"} {
		texts[how] = "kind=\"exec\"\nio=\"" + how + "\"\ncommand=[\"/bin/sh\",\"-c\",\"echo " + how + "; exec cat\"]\n"
	}
	for from, to := range map[string]string{"pipes": "socket", "socket": "pipes"} {
		r := serve(t, texts[from]+"max_children=1\n")
		a, b := r.dial(), r.dial()
		a.want(from + "\n")
		r.do(func() { r.svc.(Adjuster).Adjust(parse(t, texts[to])) })
		b.want(to + "\n")
		c := r.dial()
		c.want(to + "\n")
		for i, cl := range []*testClient{a, b, c} {
			cl.send(fmt.Sprint(i))
			cl.want(fmt.Sprint(i))
		}
	}
}

// TestExecNotStarted: the client is told by the end, the operator by the log and the
// status, and the next client is served.
func TestExecNotStarted(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		for _, tt := range []struct{ keys, want string }{
			{"command=[\"/no such program\"]", "execve: no such file or directory"},
			{"command=[\"/bin/true\"]\ndirectory=\"/no such folder\"", "chdir: no such file or directory"},
		} {
			r := serve(t, "kind=\"exec\"\nmax_children=1\n"+keys+tt.keys)
			for i := range 2 {
				c := r.dial()
				c.wantEOF()
				c.conn.Close()
				r.wantEnd(ErrNotStarted)
				if got := r.log.wait(t, "program not started", i+1); !strings.HasSuffix(got, tt.want) {
					t.Errorf("log has %q, want %q at the end", got, tt.want)
				}
			}
			r.do(func() {
				before := r.unstarted()
				r.svc.(Adjuster).Adjust(parse(t, "kind=\"exec\"\ncommand=[\"/bin/false\"]\n"+keys))
				if after := r.unstarted(); !before || after || r.changes != 2 {
					t.Errorf("the status names the program: %v, and another one: %v, after %d changes", before, after, r.changes)
				}
			})
		}
	})
}

// TestExecEnvironment: the program knows its client, and has what the file gives it.
func TestExecEnvironment(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/notify")
	eachIO(t, func(t *testing.T, keys string) {
		r := serveExec(t, `echo "$TCPREMOTEIP $TCPREMOTEPORT $REMOTE_ADDR $REMOTE_PORT $PROTO $X $PENSTOCK_SERVICE $PENSTOCK_CONN $NOTIFY_SOCKET."; pwd`,
			keys+"env={X=\"y\"}\ndirectory=\"/usr\"")
		if got, want := r.dial().rest(), "192.0.2.1 4001 192.0.2.1 4001 TCP y x 1 .\n/usr\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestExecBlocking: a program that has the socket finds calls that wait, as it expects.
func TestExecBlocking(t *testing.T) {
	r := serveExec(t, "head -c 3000000 /dev/zero", "io=\"socket\"")
	c := r.dial()
	r.jobs(1)
	if got := len(c.rest()); got != 3_000_000 {
		t.Errorf("got %d bytes of 3000000", got)
	}
}

// TestExecLoopCloses: a loop that ends leaves no program and no descriptor, whatever
// its clients and programs do. The rig looks at the descriptors.
func TestExecLoopCloses(t *testing.T) {
	eachIO(t, func(t *testing.T, keys string) {
		for _, script := range []string{"exec cat", "exec 0<&- 1>&- 2>&-; while :; do sleep 0.01; done"} {
			r := serveExec(t, script, keys)
			r.dial()
			r.jobs(1)
		}
	})
}

// TestExecFlood: a program that floods its output is paused with its client, and one that
// floods its error output is heard a portion at a time.
func TestExecFlood(t *testing.T) {
	r := serveExec(t, "yes >&2 & exec yes", "queue=4096\nmax_children=1")
	c := r.dial()
	c.want("y\ny\n")
	r.until("a full queue", func() bool { return r.loop.Conn(c.id).Full() })
	r.do(func() {
		const onePipe = 64 << 10 // an empty queue takes what a read has brought
		if n := r.loop.Conn(c.id).Queued(); n > onePipe {
			t.Errorf("%d bytes are queued", n)
		}
		r.loop.Conn(c.id).Abort(evloop.ErrAborted)
	})
	r.jobs(0)
}

// TestExecThirdParty: programs of inetd's serve as they do there.
func TestExecThirdParty(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/page", []byte("the page\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string]string{"busybox": `"httpd", "-i", "-h", `, "micro-httpd": ""} {
		t.Run(name, func(t *testing.T) {
			path, err := osexec.LookPath(name)
			if err != nil {
				if path, err = osexec.LookPath("/usr/sbin/" + name); err != nil {
					t.Skipf("%s is not installed", name)
				}
			}
			if name == "busybox" {
				if out, err := osexec.Command(path, "httpd", "--help").CombinedOutput(); !strings.Contains(string(out), "-i") {
					t.Skipf("busybox has no httpd with -i: %v", err)
				}
			}
			eachIO(t, func(t *testing.T, keys string) {
				r := serve(t, fmt.Sprintf("kind='exec'\ncommand=[%q, %s%q]\n%s", path, args, dir, keys))
				c := r.dial()
				c.send("GET /page HTTP/1.0\r\n\r\n")
				if got := c.rest(); !strings.HasPrefix(got, "HTTP/1.") || !strings.Contains(got, " 200 O") || !strings.HasSuffix(got, "\r\n\r\nthe page\n") {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}
