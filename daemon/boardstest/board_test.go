// SPDX-License-Identifier: Apache-2.0

package boardstest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/control"
)

// A board is a daemon and its companion.
type board struct {
	w         *world
	index     int
	name      string
	folder    string
	namespace string
	env       []string

	daemon  *program
	mqtt    *program
	mqtts   []*program // all so far, since the logs are read at the end
	clients []*client
	*recorder
}

// boardConfig is for a board's name and folder. Clients of this test are many and from one
// user, and at the end of a fault they get much at once.
const boardConfig = `
[limits]
per_source = 4096

[mqtt]
broker = "mqtt://%[3]s"
board = "%[1]s"

[service.lobby]
kind = "room"
listen = ["%[2]s/lobby.sock"]
per_source = 4096
queue = "4MiB"
welcome = ""
message = "{name} {line}"
history = %[4]d
mqtt = { room = "lobby" }
`

func newBoard(w *world, index int, name string) *board {
	w.t.Helper()
	b := &board{w: w, index: index, name: name, folder: filepath.Join(w.folder, name)}
	b.namespace = newBoardNetwork(w.t, w.hub, name, index)
	for _, folder := range []string{"penstock", "memory"} {
		if err := os.MkdirAll(filepath.Join(b.folder, folder), 0o700); err != nil {
			w.t.Fatal(err)
		}
	}
	text := fmt.Sprintf(boardConfig, name, b.folder, brokerAddress, *history)
	if err := os.WriteFile(b.file(), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	b.env = []string{"XDG_RUNTIME_DIR=" + b.folder, "PENSTOCK_CONTROL=" + b.control(), "NOTIFY_SOCKET=", "RUNTIME_DIRECTORY=" + filepath.Join(b.folder, "memory")}
	b.daemon = start(w.t, b.namespace, b.env, filepath.Join(*programs, "penstock"), "run", "-c", b.file())
	b.daemon.await(w.t, w.ctx, 1, ready)
	b.join()
	return b
}

// ready is what a daemon writes that serves.
const ready = "daemon ready"

func (b *board) file() string    { return filepath.Join(b.folder, "penstock.toml") }
func (b *board) control() string { return filepath.Join(b.folder, "penstock", "control") }

// join starts the companion.
func (b *board) join() {
	b.w.t.Helper()
	b.mqtt = start(b.w.t, b.namespace, b.env, filepath.Join(*programs, "penstock-mqtt"), "run", "-c", b.file(), "-state", filepath.Join(b.folder, "state"))
	b.mqtts = append(b.mqtts, b.mqtt)
}

// upgrade has the daemon become the next process, and starts the companion anew.
func (b *board) upgrade() {
	b.w.t.Helper()
	b.mqtt.end()
	n := b.daemon.count(ready)
	b.daemon.signal(b.w.t, unix.SIGUSR2)
	b.daemon.await(b.w.t, b.w.ctx, n+1, ready)
	b.join()
}

// status is what "penstock status" says.
func (b *board) status() string {
	cmd := exec.Command(filepath.Join(*programs, "penstock"), "status")
	cmd.Env = append(os.Environ(), b.env...)
	out, err := cmd.CombinedOutput()
	return fmt.Sprintf("%s\n%v", out, err)
}

// rss returns how much memory the companion has, in KiB.
func (b *board) rss() int {
	b.w.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.mqtt.Process.Pid))
	if err != nil {
		b.w.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.w.t.Fatal(err)
	}
	return n
}

// A recorder follows the feed of a board's room, to know the number of each line there.
type recorder struct {
	mu      sync.Mutex // guards the following
	series  string
	last    uint64
	numbers map[spoken]uint64 // of the board's own lines
	missed  uint64
}

// A spoken is a line: its speaker and its number there.
type spoken struct {
	speaker int
	number  int64
}

// newRecorder follows until the test ends.
func newRecorder(w *world, b *board) *recorder {
	r := &recorder{numbers: make(map[spoken]uint64)}
	var running sync.WaitGroup
	done := make(chan struct{})
	running.Go(func() {
		for w.pause(50*time.Millisecond) == nil {
			r.follow(b, done)
			select {
			case <-done:
				return
			default:
			}
		}
	})
	w.t.Cleanup(func() { close(done); running.Wait() })
	return r
}

// follow reads the feed until the daemon goes, or done is closed.
func (r *recorder) follow(b *board, done <-chan struct{}) {
	c, err := control.Dial(b.control(), time.Minute)
	if err != nil {
		return
	}
	over := make(chan struct{})
	var closing sync.WaitGroup
	closing.Go(func() {
		select {
		case <-done:
		case <-over:
		}
		_ = c.Close()
	})
	defer closing.Wait()
	defer close(over)
	r.mu.Lock()
	in := control.Joining{Service: "lobby", After: &r.last, Series: r.series}
	r.mu.Unlock()
	_ = c.Stream(control.Interface+".Join", in, 0, func(p json.RawMessage) error { return r.took(b, p) })
}

func (r *recorder) took(b *board, p json.RawMessage) error {
	var j control.Joined
	if err := json.Unmarshal(p, &j); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.series, r.missed = j.Series, r.missed+j.Missed
	for _, m := range j.Messages {
		if m.Number == 0 {
			continue
		}
		r.last = m.Number
		l, ok := parse(strings.Fields(string(m.Bytes())))
		if ok && m.Tag == "" && l.board == b.index {
			r.numbers[spoken{l.speaker, l.number}] = m.Number
		}
	}
	return nil
}

// number returns what the feed calls a line.
func (r *recorder) number(s spoken) (series string, n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.series, r.numbers[s]
}
