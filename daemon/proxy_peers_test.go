// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"penstock/evloop/evlooptest"
)

// Programs that people have, through a proxy. A test is skipped where its program is not
// installed.

// relays runs a proxy to a server on TCP, and returns the address for its clients, of that
// network.
func relays(t *testing.T, network string, serve func(net.Listener)) (at string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { serve(ln); close(served) }()
	if at = freeAddress(t); network == "unix" {
		at = t.TempDir() + "/p"
	}
	r := runDaemon(t, parse(t, fmt.Sprintf("[service.p]\nkind='proxy'\nlisten=['%s']\nto=['%s']\ndrain_timeout='1s'\n", at, ln.Addr())))
	t.Cleanup(func() {
		r.until("the last client has left", func() bool { return r.clients() == 0 })
		r.stop(t)
		ln.Close()
		<-served
	})
	return at
}

// says runs a program with that input and wants that output.
func says(t *testing.T, input, want, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), evlooptest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil || string(out) != want {
		t.Errorf("%s says %.60q (%d bytes), %v, want %.60q (%d bytes)", cmd, out, len(out), err, want, len(want))
	}
}

// TestProxyForCurl: a page, and one that is larger than all queues.
func TestProxyForCurl(t *testing.T) {
	curl := program(t, "curl")
	large := strings.Repeat("0123456789abcdef", 1<<16)
	for _, network := range []string{"tcp", "unix"} {
		at := relays(t, network, func(ln net.Listener) {
			http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Connection", "close")
				if body, _ := io.ReadAll(q.Body); q.URL.Path == "/large" {
					io.WriteString(w, large)
				} else {
					fmt.Fprintf(w, "%s %s %s\n", q.Method, q.URL.Path, body)
				}
			}))
		})
		args := []string{"-sS", "--noproxy", "*", "http://" + at}
		if network == "unix" {
			args = []string{"-sS", "--unix-socket", at, "http://x"}
		}
		url := len(args) - 1
		base := args[url]
		args[url] = base + "/page"
		says(t, "", "GET /page \n", curl, args...)
		args[url] = base + "/large"
		says(t, "", large, curl, args...)
		args[url] = base + "/post"
		says(t, "body", "POST /post body\n", curl, append(args, "--data-binary", "@-")...)
	}
}

// TestProxyForRedis: redis-cli asks in arrays and waits for each answer.
func TestProxyForRedis(t *testing.T) {
	cli := program(t, "redis-cli")
	for _, network := range []string{"tcp", "unix"} {
		at := relays(t, network, func(ln net.Listener) { serveLines(ln, "PING", "+PONG\r\n") })
		args := []string{"-s", at, "PING"}
		if network == "tcp" {
			host, port, _ := net.SplitHostPort(at)
			args = []string{"-h", host, "-p", port, "PING"}
		}
		says(t, "", "PONG\n", cli, args...)
	}
}

// serveLines answers each line that is the question, on every connection.
func serveLines(ln net.Listener, question, answer string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for s := bufio.NewScanner(c); s.Scan(); {
				if strings.TrimSpace(s.Text()) == question {
					io.WriteString(c, answer)
				}
			}
		}()
	}
}

// TestProxyForNetcat: nc -N shuts its side after its question. The server answers when it
// has seen that end, as wc does.
func TestProxyForNetcat(t *testing.T) {
	nc := program(t, "nc.openbsd") // others have no -N
	question := strings.Repeat("0123456789abcdef", 1<<14)
	for _, network := range []string{"tcp", "unix"} {
		at := relays(t, network, func(ln net.Listener) {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				n, _ := io.Copy(io.Discard, c)
				fmt.Fprintf(c, "%d bytes\n", n)
				c.Close()
			}
		})
		args := []string{"-N", "-U", at}
		if network == "tcp" {
			host, port, _ := net.SplitHostPort(at)
			args = []string{"-N", host, port}
		}
		says(t, question, fmt.Sprintf("%d bytes\n", len(question)), nc, args...)
	}
}
