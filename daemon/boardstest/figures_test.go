// SPDX-License-Identifier: Apache-2.0

package boardstest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ahead is how many lines a speaker may be ahead of the slowest board when the rate is
// measured.
const ahead = 200

// figures measures how many lines a second one board has the others hear, and three.
func (w *world) figures(lasts time.Duration) {
	w.t.Helper()
	for _, from := range [][]*board{w.boards[:1], w.boards} {
		until := time.Now().Add(lasts)
		var running sync.WaitGroup
		var mu sync.Mutex
		sum := 0.0
		for _, b := range from {
			running.Go(func() {
				rate := w.rate(b, until)
				mu.Lock()
				sum += rate
				mu.Unlock()
			})
		}
		running.Wait()
		w.t.Logf("%d board(s) speak, all hear %d clients each: %.0f lines/s", len(from), *clients, sum)
	}
}

// rate has a speaker say what the others can hear, and returns the lines a second.
func (w *world) rate(b *board, until time.Time) float64 {
	s := b.clients[0]
	slowest := func() int64 {
		n := s.said.Load()
		for _, o := range w.boards {
			n = min(n, o.clients[len(o.clients)-1].got(b.index, 0))
		}
		return n
	}
	begun, first := time.Now(), slowest()
	for time.Now().Before(until) && w.ctx.Err() == nil {
		if s.said.Load()-slowest() < ahead {
			s.say()
			continue
		}
		time.Sleep(time.Millisecond)
	}
	return float64(slowest()-first) / time.Since(begun).Seconds()
}

// calm measures how late lines come while nothing fails.
func (w *world) calm(lasts time.Duration) {
	w.t.Helper()
	w.timed(true)
	_ = w.pause(lasts)
	w.timed(false)
	var all [2][]time.Duration
	for _, b := range w.boards {
		c := b.clients[len(b.clients)-1]
		c.mu.Lock()
		for i := range all {
			all[i] = append(all[i], c.delays[i]...)
		}
		c.mu.Unlock()
	}
	for i, where := range []string{"on the board", "across"} {
		list := all[i]
		if len(list) == 0 {
			w.t.Errorf("no line came %s", where)
			continue
		}
		slices.Sort(list)
		w.t.Logf("delay %s: median %v, p99 %v, of %d lines", where, list[len(list)/2], list[len(list)*99/100], len(list))
	}
}

func (w *world) timed(on bool) {
	for _, b := range w.boards {
		c := b.clients[len(b.clients)-1]
		c.mu.Lock()
		c.timed = on
		c.mu.Unlock()
	}
}

// mostMemory is how much a companion may have at the end, in KiB: the bounds of one room are
// 20 MiB, and the runtime doubles that.
const mostMemory = 60 << 10

// memory checks what the companions have at the end.
func (w *world) memory() {
	w.t.Helper()
	for _, b := range w.boards {
		n := b.rss()
		w.t.Logf("companion of %s: %d KiB resident", b.name, n)
		if n > mostMemory {
			w.t.Errorf("companion of %s: %d KiB resident, more than %d", b.name, n, mostMemory)
		}
	}
}

// A meter reads what the broker counts, as long as it lives.
type meter struct {
	*program
}

func newMeter(w *world, local string) *meter {
	w.t.Helper()
	return &meter{start(w.t, w.hub, nil, "mosquitto_sub", "--unix", local, "-v", "-t", counts+"+")}
}

// counts begins the names of the broker's counters of messages that publish something.
const counts = "$SYS/broker/publish/messages/"

// count returns the last value of a counter.
func (m *meter) count(name string) (n int) {
	lines, _ := m.log()
	for _, l := range lines {
		if rest, ok := strings.CutPrefix(l, counts+name+" "); ok {
			if v, err := strconv.Atoi(rest); err == nil {
				n = v
			}
		}
	}
	return n
}

// storm checks that the broker did not get much more than what was said.
func (w *world) storm() {
	w.t.Helper()
	lines, received, sent := 0, 0, 0
	for _, b := range w.boards {
		for _, s := range b.clients[:speakers] {
			lines += int(s.said.Load())
		}
	}
	for _, m := range w.meters {
		received += m.count("received")
		sent += m.count("sent")
	}
	// Beside the lines there are states, one in two seconds of a board, and what is asked
	// for after faults. Each message goes to the other boards.
	others := len(w.boards) - 1
	most := lines + lines/2 + 20*int(w.lasted.Seconds()) + 500
	text := fmt.Sprintf("%d lines: the broker got %d messages and sent %d", lines, received, sent)
	w.t.Log(text)
	if received == 0 {
		w.t.Error("the broker's counters were not read")
	}
	if received > most || sent > others*most {
		w.t.Errorf("%s; at most %d and %d are right", text, most, others*most)
	}
}
