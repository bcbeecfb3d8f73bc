// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// serve starts penstock with a configuration and waits until it is ready.
func serve(t *testing.T, config string) (p *proc) {
	t.Helper()
	return serveBy(t, exec.Command("penstock"), config)
}

// servePassed is serve for a process that inherits the socket of a service.
func servePassed(t *testing.T, config, service string, socket *os.File) *proc {
	t.Helper()
	cmd := exec.Command("activated")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=", "LISTEN_FDS=1", "LISTEN_FDNAMES="+service)
	cmd.ExtraFiles = []*os.File{socket}
	return serveBy(t, cmd, config)
}

func serveBy(t *testing.T, cmd *exec.Cmd, config string) (p *proc) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "penstock.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Args = append(cmd.Args, "run", "-c", file)
	p = &proc{cmd: cmd, out: newTranscript(), done: make(chan struct{})}
	if err := p.run(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	if !p.out.await(regexp.MustCompile("daemon ready")) {
		t.Fatalf("not ready:\n%v", p.out)
	}
	return p
}

// A chatter is two members of a room: one says a line, the other hears it.
type chatter struct {
	speaker, listener net.Conn
	buf               []byte
	longest, total    time.Duration // from saying to hearing
}

func newChatter(t *testing.T, path string) *chatter {
	t.Helper()
	return &chatter{speaker: join(t, path), listener: join(t, path), buf: make([]byte, 64)}
}

// dialUnix connects a client that waits for no answer longer than patience.
func dialUnix(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// join enters a room and waits until it is in.
func join(t *testing.T, path string) net.Conn {
	t.Helper()
	c := dialUnix(t, path)
	if _, err := io.ReadFull(c, make([]byte, len("come in\n"))); err != nil {
		t.Fatal(err)
	}
	return c
}

// exchange waits until what was said is heard, in full and nothing else.
func (c *chatter) exchange(t *testing.T, i int) {
	t.Helper()
	line := fmt.Sprintf("line %08d of what is said in this room all day\n", i)
	began := time.Now()
	for _, conn := range []net.Conn{c.speaker, c.listener} {
		if err := conn.SetDeadline(began.Add(patience)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(c.speaker, line); err != nil {
		t.Fatalf("line %d: %v", i, err)
	}
	got := c.buf[:len(line)]
	if _, err := io.ReadFull(c.listener, got); err != nil || string(got) != line {
		t.Fatalf("line %d: heard %q, %v", i, got, err)
	}
	gap := time.Since(began)
	c.longest, c.total = max(c.longest, gap), c.total+gap
}

// TestStuckMember: a member of a room that does not read costs the others
// nothing. Two rooms of one process take turns, line by line, one of them with
// such a member whose queue is full all the time: what else the machine does
// hits both alike, so that the times can be compared, and no limit in
// milliseconds has to be right for every machine.
func TestStuckMember(t *testing.T) {
	dir := t.TempDir()
	config := "[limits]\nper_source=0\n"
	for _, name := range []string{"stuck", "fine"} {
		config += fmt.Sprintf("[service.%s]\nkind='room'\nlisten=['%s']\nwelcome='come in'\nmessage='{line}'\necho_to_sender=false\nqueue='4KiB'\noverflow='drop-oldest'\n",
			name, filepath.Join(dir, name))
	}
	p := serve(t, config)
	join(t, filepath.Join(dir, "stuck")) // and reads no more
	stuck, fine := newChatter(t, filepath.Join(dir, "stuck")), newChatter(t, filepath.Join(dir, "fine"))
	for i := range 1000 { // until the kernel's buffer and the queue are full
		stuck.exchange(t, i)
	}
	if !p.out.await(regexp.MustCompile(`messages dropped service=stuck conn=1 `)) {
		t.Fatalf("nothing was dropped:\n%v", p.out)
	}
	const lines, tries = 3000, 5
	for try := 1; ; try++ {
		for _, c := range []*chatter{stuck, fine} {
			c.longest, c.total = 0, 0
		}
		for i := range lines {
			stuck.exchange(t, i)
			fine.exchange(t, i)
		}
		t.Logf("%d lines, in all and the longest: %v and %v with a member that does not read, %v and %v without",
			lines, stuck.total, stuck.longest, fine.total, fine.longest)
		dear, halted := stuck.total > 3*fine.total, stuck.longest > fine.total
		if !dear && !halted {
			return
		}
		if try < tries { // one long moment may be the machine's, in which nobody ran
			continue
		}
		if dear {
			t.Errorf("%v for %d lines with a member that does not read, more than three times the %v without", stuck.total, lines, fine.total)
		}
		if halted {
			t.Errorf("a line took %v with a member that does not read, longer than all %d of the other room", stuck.longest, lines)
		}
		return
	}
}
