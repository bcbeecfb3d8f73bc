// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSlowStart: while the kernel takes four seconds to execute a handler's
// program, because a virus scanner looks at it (fanotify(7)), the echo of
// another service is not slower than that of a penstock that starts nothing. The
// two are asked in turns, so that a busy machine is busy for both.
func TestSlowStart(t *testing.T) {
	const lasts, parts, slack = 4 * time.Second, 8, 20 * time.Millisecond
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(path("prog"), []byte("#!/bin/sh\nexec cat\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	scan := newScanner(t, path("prog"))
	const echo = "[service.echo]\nkind='echo'\nlisten=['%s']\n"
	serve(t, fmt.Sprintf(echo, path("idle")))
	p := serve(t, fmt.Sprintf(echo+"[service.slow]\nkind='handler'\nlisten=['%s']\ncommand=['%s']\n", path("busy"), path("slow"), path("prog")))
	event := scan.next(t)

	idle, busy := dialEcho(t, path("idle")), dialEcho(t, path("busy"))
	var more []time.Duration // by which busy was slower in each part of the time
	for range parts {
		var quiet, meanwhile []time.Duration
		for end := time.Now().Add(lasts / parts); time.Now().Before(end); {
			quiet = append(quiet, idle.ask(t))
			meanwhile = append(meanwhile, busy.ask(t))
		}
		a, b := p99(quiet), p99(meanwhile)
		t.Logf("%d round trips each: p99 %v while a program starts, %v of an idle penstock", len(quiet), b, a)
		more = append(more, b-a)
	}
	scan.allow(t, event)
	if !p.out.await(regexp.MustCompile("program started service=slow")) {
		t.Fatalf("the program was not started:\n%v", p.out)
	}
	// The program starts all the time. What the machine does to one of the two passes.
	slices.Sort(more)
	if m := more[parts/2]; m > slack {
		t.Errorf("most of the time the p99 is %v or more above that of an idle penstock, want %v at most", m, slack)
	}
}

func p99(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)*99/100]
}

// A scanner is asked before a program is executed.
type scanner struct{ fd int }

func newScanner(t *testing.T, path string) scanner {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		t.Skip("needs CAP_SYS_ADMIN and a kernel with fanotify:", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) }) // what waits is allowed then
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_EXEC_PERM, unix.AT_FDCWD, path); err != nil {
		t.Skip("this kernel does not ask before execve:", err)
	}
	return scanner{fd}
}

// next returns the descriptor of what is about to be executed.
func (s scanner) next(t *testing.T) int32 {
	t.Helper()
	fds := []unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}
	n, err := 0, error(unix.EINTR)
	for err == unix.EINTR {
		n, err = unix.Poll(fds, int(patience.Milliseconds()))
	}
	if n != 1 {
		t.Fatalf("nobody starts the program: %v", err)
	}
	b := make([]byte, 256)
	if _, err := unix.Read(s.fd, b); err != nil {
		t.Fatal(err)
	}
	return int32(binary.NativeEndian.Uint32(b[16:])) // fanotify_event_metadata.fd
}

func (s scanner) allow(t *testing.T, event int32) {
	t.Helper()
	answer := binary.NativeEndian.AppendUint32(nil, uint32(event))
	answer = binary.NativeEndian.AppendUint32(answer, unix.FAN_ALLOW)
	if _, err := unix.Write(s.fd, answer); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(int(event))
}

// An asker waits for the echo of each message.
type asker struct {
	conn net.Conn
	buf  []byte
}

func dialEcho(t *testing.T, path string) asker {
	t.Helper()
	return asker{dialUnix(t, path), make([]byte, 5)}
}

func (a asker) ask(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := io.WriteString(a.conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(a.conn, a.buf); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
