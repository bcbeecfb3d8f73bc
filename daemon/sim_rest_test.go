// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"penstock/evloop"
)

// What clients of the kinds say, and what they are due.

var simEcho = &simKind{
	name: "echo", raw: true,
	say: func(w *simWorld, c *simClient) string {
		b := make([]byte, 1+w.rng.IntN(400))
		for i := range b {
			b[i] = byte(w.rng.Uint32())
		}
		return string(b)
	},
	check: func(_ *simWorld, c *simClient) error {
		switch {
		case !bytes.HasPrefix(c.sent, c.got):
			return fmt.Errorf("the echo differs after %d bytes", samePrefix(c.sent, c.got))
		case len(c.got) < len(c.sent):
			return notYet("%d of %d bytes have come back", len(c.got), len(c.sent))
		}
		return nil
	},
}

// samePrefix returns how many bytes are the same.
func samePrefix(a, b []byte) (n int) {
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// A question that was sent before a restart may be answered from the old table or the
// new one, but answers never go back.
var simLookup = &simKind{
	name: "lookup",
	say:  func(w *simWorld, _ *simClient) string { return []string{"q0", "q1", " q0\r", "huh"}[w.rng.IntN(4)] },
	check: func(w *simWorld, c *simClient) error {
		last := 0
		answers := strings.SplitAfter(string(c.got), "\n")
		for i, a := range answers[:len(answers)-1] {
			if i == len(c.said) {
				return fmt.Errorf("answer %q to no question", a)
			}
			want := strings.TrimSpace(c.said[i].text)
			if want == "huh" {
				want = "none"
			}
			var of int
			if _, err := fmt.Sscanf(a, want+" of %d\n", &of); err != nil {
				return fmt.Errorf("answer %d is %q, want one to %q", i, a, c.said[i].text)
			}
			if of < last || of < c.said[i].generation || of > w.generation {
				return fmt.Errorf("answer %d is %q, of a table between %d and %d, after one of %d", i, a, c.said[i].generation, w.generation, last)
			}
			last = of
		}
		if n := len(answers) - 1; n < len(c.said) {
			return notYet("%d of %d questions are answered", n, len(c.said))
		}
		return nil
	},
}

var simChargen = &simKind{
	name: "chargen", raw: true, endless: true,
	say: func(*simWorld, *simClient) string { return "x" },
	check: func(_ *simWorld, c *simClient) error {
		for i, b := range c.got {
			want := byte(' ' + (i/74+i%74)%95)
			switch i % 74 {
			case 72:
				want = '\r'
			case 73:
				want = '\n'
			}
			if b != want {
				return fmt.Errorf("byte %d is %q, want %q", i, b, want)
			}
		}
		return nil
	},
}

// simTicks is what must come of the ticker. Its deadlines are a series that restarts
// neither move nor repeat. Of those that have passed since the loop has last looked, one
// counts.
type simTicks struct {
	interval time.Duration
	witness  *simClient
	next     evloop.Time // deadline
	seen     int         // that were sent, as the daemon counts the bytes of the witness
	before   int         // the same, a turn ago: all clients have read these
}

// observe compares the clock with what was sent.
func (s *simTicks) observe(w *simWorld) {
	c := w.server(s.witness)
	if c == nil || w.ending {
		return
	}
	least, most := 0, 0
	if now := w.d.loop.Now(); now >= s.next {
		passed := now.Sub(s.next)/s.interval + 1
		s.next = s.next.Add(passed * s.interval)
		if least, most = 1, 1; w.slept {
			most = int(passed)
		}
	}
	s.before = s.seen
	s.seen = (int(c.BytesOut()) + c.Queued()) / len("tick\n")
	if n := s.seen - s.before; n < least || n > most {
		w.fail(fmt.Errorf("%d ticks in a turn, want %d to %d", n, least, most))
	}
}

var simTicker = &simKind{
	name: "ticker", listens: true, endless: true,
	say: func(w *simWorld, _ *simClient) string {
		return []string{"PING", " ping \r", "CONFIG GET save", "PINGPING", "", "hello"}[w.rng.IntN(6)]
	},
	check: func(w *simWorld, c *simClient) error {
		rest, ticks, answers := string(c.got), 0, ""
		for rest != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(rest, "tick\n"); ok {
				ticks++
				continue
			}
			end := strings.IndexByte(rest, '\n') + 1
			if end == 0 {
				if c.gone {
					break
				}
				return fmt.Errorf("%q is cut", rest)
			}
			answers, rest = answers+rest[:end], rest[end:]
		}
		want := ""
		for _, s := range c.said {
			switch {
			case s.end > len(c.sent) || s.text != "" && s.end == len(c.sent) && c.shut && !bytes.HasSuffix(c.sent, []byte("\n")):
				// not sent, or a command without its end
			case strings.EqualFold(strings.TrimSpace(s.text), "PING"):
				want += "+PONG\r\n"
			case strings.HasPrefix(s.text, "CONFIG"):
				want += "-ERR unknown command\r\n"
			}
		}
		// On a slow machine each turn has a tick, which a ring sends in the next one.
		least, most := w.ticks.before-c.joined, w.ticks.seen-c.joined
		if c.ends() {
			least = c.shutAt - c.joined // it was served until the daemon saw that
		}
		if w.ending {
			most++ // just before the end
		}
		switch {
		case !strings.HasPrefix(want, answers) || ticks > most:
			return fmt.Errorf("%d ticks and answers %q, want %d to %d and %q", ticks, answers, least, most, want)
		case answers != want || ticks < least:
			return notYet("%d ticks and answers %q, want %d to %d and %q", ticks, answers, least, most, want)
		}
		return nil
	},
}

var errTwice = errors.New("twice, or for another one")
