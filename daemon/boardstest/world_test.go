// SPDX-License-Identifier: Apache-2.0

package boardstest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A world is the boards and the broker.
type world struct {
	t      *testing.T
	ctx    context.Context // ends when the test has taken too long, or is to end
	folder string
	hub    string // the namespace of the broker
	boards []*board

	broker *program
	meters []*meter // one for each life of the broker

	lasted  time.Duration // of all
	quiet   chan struct{} // closed: nobody speaks any more
	talking sync.WaitGroup
}

func newWorld(t *testing.T, ctx context.Context) *world {
	t.Helper()
	folder, err := os.MkdirTemp("", "b") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	w := &world{t: t, ctx: ctx, folder: folder, hub: newNetwork(t), quiet: make(chan struct{})}
	t.Cleanup(w.hush)
	w.serve()
	for i, name := range boardNames {
		w.boards = append(w.boards, newBoard(w, i, name))
	}
	for _, b := range w.boards {
		b.mqtt.await(t, ctx, 1, "connected to the broker")
		for i := range *clients {
			b.clients = append(b.clients, newClient(w, b, i))
		}
		b.recorder = newRecorder(w, b)
	}
	w.meet()
	return w
}

// serve starts the broker, and waits until it listens.
func (w *world) serve() {
	w.t.Helper()
	local := filepath.Join(w.folder, "mqtt")
	_ = os.Remove(local)
	file := filepath.Join(w.folder, "mosquitto.conf")
	text := fmt.Sprintf(`user root
listener 1883 %s
listener 0 %s
allow_anonymous true
persistence true
persistence_location %s/
autosave_interval 2
sys_interval 1
log_dest stderr
`, brokerAddress, local, w.folder)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.broker = start(w.t, w.hub, nil, "mosquitto", "-c", file)
	for w.pause(10*time.Millisecond) == nil {
		c, err := net.Dial("unix", local)
		if err == nil {
			_ = c.Close()
			break
		}
	}
	w.meters = append(w.meters, newMeter(w, local))
}

// pause waits; the error says that the test is to end.
func (w *world) pause(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// until waits for what must happen, and fails the test with what tells why it did not.
func (w *world) until(happened func() bool, why func() string) {
	w.t.Helper()
	for !happened() {
		if err := w.pause(20 * time.Millisecond); err != nil {
			w.t.Fatalf("waited in vain (%v): %s", err, why())
		}
	}
}

// meet has every board hear every other one. What was said before a board was there is not
// promised to anybody.
func (w *world) meet() {
	w.t.Helper()
	others := fmt.Sprintf("room lobby: %d other boards", len(w.boards)-1)
	for _, b := range w.boards {
		w.until(func() bool { return strings.Contains(b.status(), others) }, b.status)
	}
	for _, b := range w.boards {
		for _, s := range b.clients[:speakers] {
			s.say()
		}
	}
	w.settle()
}

// talk has all speakers speak until hush.
func (w *world) talk() {
	for _, b := range w.boards {
		for _, s := range b.clients[:speakers] {
			w.talking.Go(func() {
				for {
					select {
					case <-w.quiet:
						return
					case <-time.After(talkEvery):
						s.say()
					}
				}
			})
		}
	}
}

// hush ends that.
func (w *world) hush() {
	select {
	case <-w.quiet:
	default:
		close(w.quiet)
	}
	w.talking.Wait()
}

// settle waits until the last line of each speaker has come to every client.
func (w *world) settle() {
	w.t.Helper()
	begun := time.Now()
	w.until(func() bool { return w.behind() == "" }, func() string {
		w.report()
		return w.behind()
	})
	w.t.Logf("every client has the last line of every speaker after %v", time.Since(begun).Round(time.Millisecond))
}

// behind names a client without the last line of a speaker, "" if there is none.
func (w *world) behind() string {
	for _, from := range w.boards {
		for i, s := range from.clients[:speakers] {
			last := s.said.Load()
			for _, to := range w.boards {
				for _, c := range to.clients {
					if got := c.got(from.index, i); got < last {
						return fmt.Sprintf("%s has %d of %d lines of %s", c, got, last, s)
					}
				}
			}
		}
	}
	return ""
}
