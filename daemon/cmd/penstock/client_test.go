// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

func freePort(ts *testscript.TestScript, _ bool, args []string) {
	for range 100 {
		port := portsFrom + int(lastPort.Add(1)%ports)
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			ln.Close()
			ts.Setenv(args[0], strconv.Itoa(port))
			return
		}
	}
	ts.Fatalf("no free port in a hundred")
}

// Ports that freePort tries lie below those that the kernel gives to outgoing
// connections (net.ipv4.ip_local_port_range): one of those could be taken by
// any client of another script before the daemon binds it. Each is tried once,
// from a random one on, since scripts run at the same time.
const portsFrom, ports = 20000, 12000

var lastPort = func() *atomic.Uint32 {
	p := new(atomic.Uint32)
	p.Store(rand.Uint32N(ports))
	return p
}()

func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		text, err := os.ReadFile(path)
		ts.Check(err)
		values := strings.NewReplacer("$WORK", ts.Getenv("WORK"), "$PORT", ts.Getenv("PORT"))
		all := values.Replace(string(text))
		if w := worldOf(ts); filepath.Ext(name) == ".toml" && !strings.Contains(all, "[loop]") {
			all += "\n[loop]\nbackend = \"" + w.backend + "\"\n"
		}
		ts.Check(os.WriteFile(path, []byte(all), 0o644))
	}
}

// listenAt opens a socket that start passes on. Its address is in $NAME.
func listenAt(ts *testscript.TestScript, _ bool, args []string) {
	name, addr := args[0], args[1]
	ln, err := net.Listen(network(addr), address(ts, addr))
	ts.Check(err)
	if u, ok := ln.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, err := ln.(interface{ File() (*os.File, error) }).File()
	ts.Check(err)
	ts.Setenv(name, ln.Addr().String())
	ts.Check(ln.Close()) // the duplicate in f goes on listening
	worldOf(ts).sockets[name] = f
}

func network(addr string) string {
	if strings.ContainsRune(addr, ':') {
		return "tcp"
	}
	return "unix"
}

// address makes the path of a Unix socket absolute.
func address(ts *testscript.TestScript, addr string) string {
	if network(addr) == "unix" && addr[0] != '@' {
		return ts.MkAbs(addr)
	}
	return addr
}

func connect(ts *testscript.TestScript, addr string) net.Conn {
	c, err := net.DialTimeout(network(addr), address(ts, addr), patience)
	ts.Check(err)
	wait(ts, c)
	return c
}

// wait gives whatever c does next its time, however long the script has run.
func wait(ts *testscript.TestScript, c net.Conn) {
	ts.Check(c.SetDeadline(time.Now().Add(patience)))
}

// conn returns the connection of that name, for the next step.
func conn(ts *testscript.TestScript, name string) net.Conn {
	c := worldOf(ts).conns[name]
	wait(ts, c)
	return c
}

func dial(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		if c, err := net.Dial(network(args[1]), address(ts, args[1])); err == nil {
			_ = c.Close()
			ts.Fatalf("something listens on %s", args[1])
		}
		return
	}
	worldOf(ts).conns[args[0]] = connect(ts, args[1])
}

// unquote reads the escapes of Go in a script's text, such as \n.
func unquote(ts *testscript.TestScript, s string) string {
	out, err := strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
	ts.Check(err)
	return out
}

func send(ts *testscript.TestScript, _ bool, args []string) {
	_, err := io.WriteString(conn(ts, args[0]), unquote(ts, args[1]))
	ts.Check(err)
}

// exchange sends a text and waits for its echo, N times.
func exchange(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	for range n {
		send(ts, neg, []string{args[0], args[2]})
		recv(ts, neg, []string{args[0], args[2]})
	}
}

// flood writes N times without waiting for anybody to read it.
func flood(ts *testscript.TestScript, _ bool, args []string) {
	c, text := conn(ts, args[0]), unquote(ts, args[2])
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	go func() {
		for range n {
			if _, err := io.WriteString(c, text); err != nil {
				return // the server has cut it, which the script looks for
			}
		}
	}()
}

// stuff writes until the server reads no more, which it has not done for a second then.
func stuff(ts *testscript.TestScript, _ bool, args []string) {
	c, text := conn(ts, args[0]), unquote(ts, args[1])
	for {
		ts.Check(c.SetWriteDeadline(time.Now().Add(time.Second)))
		if _, err := io.WriteString(c, text); errors.Is(err, os.ErrDeadlineExceeded) {
			return
		} else if err != nil {
			ts.Check(err)
		}
	}
}

func recv(ts *testscript.TestScript, _ bool, args []string) {
	want := unquote(ts, args[1])
	b := make([]byte, len(want))
	n, err := io.ReadFull(conn(ts, args[0]), b)
	if err != nil || string(b) != want {
		ts.Fatalf("%s received %q (%v), want %q", args[0], b[:n], err, want)
	}
}

func eof(ts *testscript.TestScript, _ bool, args []string) {
	rest, err := io.ReadAll(conn(ts, args[0]))
	if len(rest) > 0 || err != nil && !errors.Is(err, unix.ECONNRESET) {
		ts.Fatalf("%s received %q (%v), want the end", args[0], rest, err)
	}
}

func refused(ts *testscript.TestScript, _ bool, args []string) {
	c := connect(ts, args[0])
	defer c.Close()
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		ts.Fatalf("%s lets us in", args[0])
	}
}

func hangup(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(worldOf(ts).conns[args[0]].Close())
	delete(worldOf(ts).conns, args[0])
}

func shut(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(worldOf(ts).conns[args[0]].(interface{ CloseWrite() error }).CloseWrite())
}

// chat opens n connections, each of which sends a message and has it back.
func chat(t *testing.T, path string, n int) {
	t.Helper()
	reply := make([]byte, 6)
	for range n {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, "hello\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, reply); err != nil {
			t.Fatal(err)
		}
	}
}
