// SPDX-License-Identifier: Apache-2.0

package boardstest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// lostRecord is how a companion counts lines as lost.
var lostRecord = regexp.MustCompile(`lines lost.*\bboard=(\S+) series=(\S+) from=(\d+) to=(\d+) doubt=(\w+)`)

// A loss is lines of a board that a companion counts as lost: by the numbers of the feed.
type loss struct {
	board, series string
	from, to      uint64
	doubt         bool // they may have been shown
}

// losses returns what the companions of a board have counted.
func (b *board) losses() (list []loss) {
	for _, p := range b.mqtts {
		lines, _ := p.log()
		for _, text := range lines {
			m := lostRecord.FindStringSubmatch(text)
			if m == nil {
				continue
			}
			from, _ := strconv.ParseUint(m[3], 10, 64)
			to, _ := strconv.ParseUint(m[4], 10, 64)
			list = append(list, loss{m[1], m[2], from, to, m[5] == "true"})
		}
	}
	return list
}

// find returns the loss that a line is of.
func find(list []loss, board, series string, number uint64) (loss, bool) {
	for _, l := range list {
		if l.board == board && l.series == series && l.from <= number && number <= l.to && number > 0 {
			return l, true
		}
	}
	return loss{}, false
}

// judge compares what has come with what was said. The companions are at their end, so that
// all they have to say is in their logs.
func (w *world) judge() {
	w.t.Helper()
	for _, b := range w.boards {
		b.mqtt.end()
	}
	for _, m := range w.meters {
		m.end()
	}
	w.report()
	w.storm()
}

// report names what is wrong with what the clients have.
func (w *world) report() {
	w.t.Helper()
	for _, b := range w.boards {
		b.mu.Lock()
		missed, known := b.missed, len(b.numbers)
		b.mu.Unlock()
		if missed > 0 {
			w.t.Errorf("board %s: the test itself has missed %d lines of the feed, and knows %d", b.name, missed, known)
		}
		lost := b.losses()
		for _, l := range lost {
			w.t.Logf("board %s counts as lost: %s %s %d…%d (%d lines), doubt: %v", b.name, l.board, l.series, l.from, l.to, w.lines(l), l.doubt)
		}
		whose := make(map[string][]string)
		for _, c := range b.clients {
			for _, text := range c.complaints(w, lost) {
				whose[text] = append(whose[text], c.name)
			}
		}
		for _, text := range slices.Sorted(maps.Keys(whose)) {
			w.t.Errorf("board %s, %d of %d clients (%s): %s", b.name, len(whose[text]), len(b.clients), some(whose[text]), text)
		}
		if len(whose) > 0 {
			w.t.Logf("companion of %s:\n%s", b.name, b.mqtt.tail())
		}
	}
}

// lines returns how many lines a loss is.
func (w *world) lines(l loss) (n int) {
	for _, b := range w.boards {
		b.mu.Lock()
		for _, number := range b.numbers {
			if b.name == l.board && b.series == l.series && l.from <= number && number <= l.to {
				n++
			}
		}
		b.mu.Unlock()
	}
	return n
}

// some returns the first few of a list.
func some(list []string) string {
	if len(list) > 3 {
		return strings.Join(list[:3], " ") + " …"
	}
	return strings.Join(list, " ")
}

// complaints returns what is wrong with what a client has.
func (c *client) complaints(w *world, lost []loss) (list []string) {
	c.mu.Lock()
	list = append(list, c.wrong...)
	if c.wrongs > len(c.wrong) {
		list = append(list, fmt.Sprintf("and %d more of the kind", c.wrongs-len(c.wrong)))
	}
	if c.err != nil {
		list = append(list, c.err.Error())
	}
	c.mu.Unlock()
	for _, from := range w.boards {
		for i := range speakers {
			list = append(list, c.compare(from, i, lost)...)
		}
	}
	return list
}

// compare does so for one speaker.
func (c *client) compare(from *board, speaker int, lost []loss) (list []string) {
	said := from.clients[speaker].said.Load()
	gaps := c.missing(from.index, speaker, said)
	if from == c.b {
		lost = nil // nothing can be lost on the way to oneself
	}
	gone := make(map[int64]bool)
	for _, g := range gaps {
		var open []int64
		for n := g.from; n <= g.to; n++ {
			gone[n] = true
			series, number := from.number(spoken{speaker, n})
			if _, ok := find(lost, from.name, series, number); !ok {
				open = append(open, n)
			}
		}
		if len(open) > 0 {
			first, last := open[0], open[len(open)-1]
			series, a := from.number(spoken{speaker, first})
			_, z := from.number(spoken{speaker, last})
			list = append(list, fmt.Sprintf("%s.%d: %d lines of %d…%d are missing (%s %s %d…%d), and not counted as lost",
				from.name, speaker, len(open), first, last, from.name, series, a, z))
		}
	}
	for n := int64(1); n <= said && len(lost) > 0; n++ {
		series, number := from.number(spoken{speaker, n})
		if l, ok := find(lost, from.name, series, number); ok && !l.doubt && !gone[n] {
			list = append(list, fmt.Sprintf("%s.%d: %d is counted as lost (%s %s %d), and has come", from.name, speaker, n, from.name, series, number))
		}
	}
	return list
}
