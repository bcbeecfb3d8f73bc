// SPDX-License-Identifier: Apache-2.0

package lantest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// start runs the daemon in an empty network namespace with the sockets of one
// service, and waits until it serves.
func start(t *testing.T, name, config string, sockets ...*os.File) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "penstock.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], *binary, "run", "-c", file)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=", childEnv+"="+strings.TrimSuffix(strings.Repeat(name+":", len(sockets)), ":"))
	cmd.ExtraFiles = sockets
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, log := make(chan bool, 1), make(chan string, 1)
	go func() {
		var all strings.Builder
		for s := bufio.NewScanner(out); s.Scan(); {
			fmt.Fprintln(&all, s.Text())
			if strings.Contains(s.Text(), "daemon ready") {
				ready <- true
			}
		}
		log <- all.String()
		close(ready)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(<-log)
		}
	})
	if !<-ready {
		t.Fatal("the daemon has ended")
	}
}

// question is what clients ask, and echo answers.
const question = "question"

// ask writes it; a client that is refused may not get that far.
func ask(c net.Conn) { _, _ = io.WriteString(c, question) }

// answered reports whether it came back, before the end or a reset.
func answered(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.LimitReader(c, int64(len(question))))
	if os.IsTimeout(err) {
		t.Errorf("%v to %v: no answer, and no end", c.LocalAddr(), c.RemoteAddr())
	}
	return string(b) == question
}

// addresses of the desk.
const (
	wide      = "10.9.0.2"
	narrow    = "203.0.113.2"
	stranger  = "203.0.177.9" // in 203.0.0.0/8, not in 203.0.113.0/29
	unique    = "fd09::2"
	link      = "fe80::2%eth0"
	stranger6 = "2001:db8:5::9"
)

// boards gives the address of the board that goes with one of the desk's.
var boards = map[string]string{
	wide: "10.9.0.1", narrow: "203.0.113.1", stranger: "10.9.0.1",
	unique: "fd09::1", link: "fe80::1%eth0", stranger6: "fd09::1",
}

// TestLists: who is let in by lists with local-subnets, whatever the sockets.
func TestLists(t *testing.T) {
	board, desk := newLAN(t)
	near, far := []string{wide, narrow, unique, link}, []string{stranger, stranger6}
	for i, tt := range []struct {
		name    string
		listen  []string // networks and hosts of the sockets
		rule    string
		in, out []string
	}{
		{"the manual's sensor, a bare port as the unit has it", []string{"tcp4 0.0.0.0", "tcp6 [::]"}, `allow = ["local-subnets"]`, near, far},
		{"a bare port", []string{"tcp [::]"}, `allow = ["local-subnets"]`, near, far},
		{"the manual's lobby", []string{"tcp4 0.0.0.0"}, `allow = ["127.0.0.0/8", "local-subnets"]`, []string{wide, narrow}, []string{stranger}},
		{"two families", []string{"tcp4 10.9.0.1", "tcp6 [fd09::1]"}, `allow = ["local-subnets"]`, []string{wide, unique}, far},
		{"nobody near", []string{"tcp [::]"}, `deny = ["local-subnets"]`, far, near},
		{"a stranger as well", []string{"tcp [::]"}, `allow = ["local-subnets", "203.0.177.9"]`, append(near, stranger), []string{stranger6}},
		{"near, but not one", []string{"tcp [::]"}, `allow = ["local-subnets"]` + "\n" + `deny = ["203.0.113.2", "fd09::2"]`, []string{wide, link}, append(far, narrow, unique)},
		{"a network", []string{"tcp [::]"}, `allow = ["203.0.113.0/29"]`, []string{narrow}, append(far, wide, unique, link)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			port := fmt.Sprint(7000 + i)
			var sockets []*os.File
			var listen []string
			for _, host := range tt.listen {
				network, host, _ := strings.Cut(host, " ")
				sockets = append(sockets, board.listen(network, host+":"+port))
				listen = append(listen, `"`+host+":"+port+`"`)
			}
			if len(tt.listen) == 2 && tt.listen[1] == "tcp6 [::]" {
				listen = []string{`"` + port + `"`}
			}
			start(t, "echo", "[service.echo]\nkind = \"echo\"\nlisten = ["+strings.Join(listen, ", ")+"]\n"+tt.rule+"\n", sockets...)
			for want, hosts := range map[bool][]string{true: tt.in, false: tt.out} {
				for _, from := range hosts {
					c := desk.dial(net.JoinHostPort(from, "0"), net.JoinHostPort(boards[from], port))
					ask(c)
					if got := answered(t, c); got != want {
						t.Errorf("from %s: let in %v, want %v", from, got, want)
					}
				}
			}
		})
	}
}

// TestBriefFirstClient: the client that has the service started may have shut
// its side before the daemon runs, as `echo question | socat - TCP:board:7000`
// does. With the sockets of the generated unit it is judged like any other.
func TestBriefFirstClient(t *testing.T) {
	board, desk := newLAN(t)
	for i, tt := range []struct {
		rule, from string
		want       bool
	}{
		{`allow = ["local-subnets"]`, wide, true},
		{`allow = ["local-subnets"]`, narrow, true},
		{`allow = ["local-subnets"]`, stranger, false},
		{`allow = ["local-subnets"]`, link, true},
		{`deny = ["local-subnets"]`, stranger, true},
		{`deny = ["local-subnets"]`, wide, false},
	} {
		t.Run(tt.rule+" "+tt.from, func(t *testing.T) {
			port := fmt.Sprint(7000 + i)
			v4, v6 := board.listen("tcp4", "0.0.0.0:"+port), board.listen("tcp6", "[::]:"+port)
			c := desk.dial(net.JoinHostPort(tt.from, "0"), net.JoinHostPort(boards[tt.from], port))
			ask(c)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			start(t, "echo", "[service.echo]\nkind = \"echo\"\nlisten = [\""+port+"\"]\n"+tt.rule+"\n", v4, v6)
			if got := answered(t, c); got != tt.want {
				t.Errorf("let in %v, want %v", got, tt.want)
			}
		})
	}
}

// TestNeighbours: each neighbour has a budget of its own, on whatever listener.
func TestNeighbours(t *testing.T) {
	board, desk := newLAN(t)
	start(t, "echo", "[service.echo]\nkind = \"echo\"\nlisten = [\"7000\", \"10.9.0.1:7001\"]\nper_source = 1\n",
		board.listen("tcp", "[::]:7000"), board.listen("tcp", "10.9.0.1:7001"))
	for _, step := range []struct {
		from, to string
		want     bool
	}{
		{"[fe80::2%eth0]:0", "[fe80::1%eth0]:7000", true},
		{"[fe80::2%eth0]:0", "[fe80::1%eth0]:7000", false},
		{"[fe80::3%eth0]:0", "[fe80::1%eth0]:7000", true},
		{"[fd09::2]:0", "[fd09::1]:7000", true},
		{"[fd09::3]:0", "[fd09::1]:7000", true},
		{"[fd09::3]:0", "[fd09::1]:7000", false},
		{wide + ":0", "10.9.0.1:7000", true},
		{wide + ":0", "10.9.0.1:7001", false}, // the same client by another family of socket
		{narrow + ":0", "10.9.0.1:7001", true},
	} {
		c := desk.dial(step.from, step.to)
		ask(c)
		if got := answered(t, c); got != step.want {
			t.Errorf("%s to %s: let in %v, want %v", step.from, step.to, got, step.want)
		}
	}
}

// TestOneAddress: one address cannot take all places, also with no limit set.
func TestOneAddress(t *testing.T) {
	board, desk := newLAN(t)
	start(t, "echo", "[limits]\nconnections = 8\nper_source = 0\n[service.echo]\nkind = \"echo\"\nlisten = [\"7000\"]\n", board.listen("tcp", "[::]:7000"))
	for i := range 10 {
		c := desk.dial(wide+":0", "10.9.0.1:7000")
		ask(c)
		if got, want := answered(t, c), i < 7; got != want {
			t.Errorf("connection %d: let in %v, want %v", i, got, want)
		}
	}
	c := desk.dial(narrow+":0", "10.9.0.1:7000")
	ask(c)
	if !answered(t, c) {
		t.Error("another address finds no place")
	}
}

// TestTheGone: clients that asked and left while no daemon was there do not
// take the places of one that waits.
func TestTheGone(t *testing.T) {
	board, desk := newLAN(t)
	for _, limit := range []string{"max_connections = 2", "per_source = 2"} {
		for _, from := range []string{wide, link} {
			t.Run(limit+" "+from, func(t *testing.T) {
				socket := board.listen("tcp", "[::]:0")
				sa, err := unix.Getsockname(int(socket.Fd()))
				if err != nil {
					t.Fatal(err)
				}
				port := fmt.Sprint(sa.(*unix.SockaddrInet6).Port)
				to := net.JoinHostPort(boards[from], port)
				for range 5 {
					c := desk.dial(net.JoinHostPort(from, "0"), to)
					ask(c)
					c.Close()
				}
				stays := desk.dial(net.JoinHostPort(from, "0"), to)
				ask(stays)
				start(t, "echo", "[service.echo]\nkind = \"echo\"\nlisten = [\""+port+"\"]\n"+limit+"\n", socket)
				if !answered(t, stays) {
					t.Error("refused for the sake of those who are gone")
				}
			})
		}
	}
}
