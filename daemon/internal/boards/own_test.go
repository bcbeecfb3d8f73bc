// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"strings"
	"testing"
	"time"
)

// TestEchoedName: a name that was shown with its board goes into a history without it, since
// the board that gets the history adds it again.
func TestEchoedName(t *testing.T) {
	now := time.Unix(0, 0)
	r := New(Options{Room: "lobby", Board: "b", History: 10})
	r.Joined(now, "1", 1, 0)
	r.Line(now, 1, "ann@a", "hello", tag("a", "2", 7))
	r.Up(now)
	r.Take()
	r.Heard(now, topic("lobby", kindAsk, "b"), encode(ask{From: "c", History: 5}), false)
	for _, out := range r.Take() {
		s, ok := out.(Send)
		if !ok || s.Topic != topic("lobby", kindAnswer, "c") {
			continue
		}
		if text := string(s.Payload); !strings.Contains(text, `"name":"ann"`) {
			t.Errorf("answer %s", text)
		}
		return
	}
	t.Error("no answer")
}
