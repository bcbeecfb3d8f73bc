// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A tmuxPane is a real terminal, of 80 columns and 24 lines, that a test can read.
type tmuxPane struct {
	t      *testing.T
	socket string
}

// newTmuxPane runs a shell command on a terminal.
func newTmuxPane(t *testing.T, command string) *tmuxPane {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("tmux is not installed: top was not looked at on a terminal")
	}
	dir, err := os.MkdirTemp("", "tmux") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	p := &tmuxPane{t, filepath.Join(dir, "s")}
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", p.socket, "kill-server").Run() // it may have gone already
		_ = os.RemoveAll(dir)
	})
	p.tmux("-f", os.DevNull, "new-session", "-d", "-x", "80", "-y", "24", command)
	return p
}

func (p *tmuxPane) tmux(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-u", "-S", p.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm", "TMUX=", "NO_COLOR=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("tmux %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// shows waits until the terminal shows all that is wanted.
func (p *tmuxPane) shows(want ...string) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		screen := p.tmux("capture-pane", "-p")
		missing := ""
		for _, w := range want {
			if !regexp.MustCompile("(?m)" + w).MatchString(screen) {
				missing = w
			}
		}
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			p.t.Fatalf("the terminal does not show %q but\n%s", missing, screen)
		}
	}
}

func (p *tmuxPane) keys(keys ...string) {
	p.t.Helper()
	p.tmux(append([]string{"send-keys"}, keys...)...)
}

// TestTopTerminal: on a real terminal, top shows services and clients, asks before it ends
// one, follows the size of the terminal, goes on with the next process of the daemon, and
// leaves the terminal as it was.
func TestTopTerminal(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "control")
	pane := newTmuxPane(t, "echo before; until test -e "+socket+"; do sleep 0.1; done; penstock top --socket "+socket+"; echo left $?; exec cat")
	text := "[service.alpha]\nkind = \"echo\"\nlisten = [\"" + dir + "/a\"]\n[service.beta]\nkind = \"room\"\nlisten = [\"" + dir + "/b\"]\n"
	begin := func() *proc {
		cmd := exec.Command("penstock")
		cmd.Env = append(os.Environ(), "NOTIFY_SOCKET=", controlVariable+"="+socket)
		return serveBy(t, cmd, text)
	}
	first := begin()
	chat(t, filepath.Join(dir, "a"), 2)

	pane.shows("^penstock .* ready for ", "^SERVICE +KIND", "^alpha +echo +2 +2", "^beta +room +0", "q quit$")
	pane.keys("Enter")
	pane.shows("^clients of alpha, by service: 2$", "alpha +uid [0-9]+ pid [0-9]+ ")
	pane.keys("Down", "s", "Enter")
	pane.shows("^connection [0-9]+ of alpha$", "^in +6 B, 0 B/s$", "^queued +0 B here, 0 B in the kernel$")
	pane.keys("k")
	pane.shows(`^end connection [0-9]+ of alpha \(uid .*\)\? y or n$`)
	pane.keys("n", "Left", "k", "y")
	pane.shows("connection [0-9]+ ends|older than this command")
	pane.tmux("resize-window", "-x", "50", "-y", "8")
	pane.keys("Escape")
	pane.shows("^alpha +echo", "^arrows select .*…$")

	if err := first.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-first.done
	pane.shows("^no answer, trying again: ")
	begin()
	pane.shows("^in 0 B/s, ", "^alpha +echo +0 +0")
	pane.keys("q")
	pane.shows("^before\n", "^left 0$")
}

// TestTopNeedsTerminal: where nobody can see it, top says what to use instead.
func TestTopNeedsTerminal(t *testing.T) {
	out, err := exec.Command("penstock", "top").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "status --json") {
		t.Errorf("%v: %s", err, out)
	}
}
