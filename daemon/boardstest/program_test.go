// SPDX-License-Identifier: Apache-2.0

package boardstest

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A program is one that runs in a namespace, and the lines that it has written.
type program struct {
	*exec.Cmd
	read chan struct{} // closed when all was read
	end  func()        // ends it, and waits until it has

	mu    sync.Mutex // guards the following
	lines []string
	more  chan struct{} // closed at the next line
}

// start runs a program until the test ends. It is the process itself: ip(8) becomes it.
func start(t *testing.T, namespace string, env []string, name string, args ...string) *program {
	t.Helper()
	p := &program{
		Cmd:  exec.Command("ip", append([]string{"netns", "exec", namespace, name}, args...)...),
		read: make(chan struct{}), more: make(chan struct{}),
	}
	p.Env = append(os.Environ(), env...)
	// Nothing is left behind even when the test is killed.
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdout, p.Stderr = w, w
	err = p.Start()
	_ = w.Close()
	if err != nil {
		_ = r.Close()
		t.Fatal(err)
	}
	go p.collect(r)
	p.end = sync.OnceFunc(p.finish)
	t.Cleanup(p.end)
	return p
}

// collect reads what the program writes.
func (p *program) collect(r *os.File) {
	defer close(p.read)
	defer r.Close()
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, s.Text())
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// farewell is how long a program may take to end.
const farewell = 20 * time.Second

// finish asks the program to end, and makes it after a while.
func (p *program) finish() {
	_ = p.Process.Signal(unix.SIGCONT)
	_ = p.Process.Signal(unix.SIGTERM)
	last := time.AfterFunc(farewell, func() { _ = p.Process.Kill() })
	defer last.Stop()
	_ = p.Wait()
	<-p.read
}

// kill ends the program as a crash does.
func (p *program) kill() {
	_ = p.Process.Kill()
	p.end()
}

// signal sends a signal.
func (p *program) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatalf("%s: %v", p.Args[4], err)
	}
}

// log returns the lines so far, and what is closed at the next one.
func (p *program) log() ([]string, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clip(p.lines), p.more
}

// count returns how many lines hold a text.
func (p *program) count(text string) (n int) {
	lines, _ := p.log()
	for _, l := range lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

// await waits for a number of lines that hold a text.
func (p *program) await(t *testing.T, ctx context.Context, n int, text string) {
	t.Helper()
	for {
		_, more := p.log()
		if p.count(text) >= n {
			return
		}
		select {
		case <-more:
		case <-p.read:
			if p.count(text) < n {
				t.Fatalf("%s has ended:\n%s", strings.Join(p.Args[4:], " "), p.tail())
			}
		case <-ctx.Done():
			t.Fatalf("waited in vain for %d × %q of %s:\n%s", n, text, strings.Join(p.Args[4:], " "), p.tail())
		}
	}
}

// tail returns the end of what the program has written.
func (p *program) tail() string {
	lines, _ := p.log()
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}
