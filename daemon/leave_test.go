// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestAsksAtTheEnd: a client that was accepted just before the stop asks more than
// one turn of the loop serves. It gets all answers, and the stop does not wait for
// the end of the time in which it may ask.
func TestAsksAtTheEnd(t *testing.T) {
	const lines = 1000
	for _, tt := range []struct{ conf, ask, answer string }{
		{"kind = 'lookup'\nanswers = { q = 'a' }", "q\n", "a"},
		{"kind = 'ticker'\ninterval = '1h'", "PING\n", "+PONG\r\n"},
	} {
		path := t.TempDir() + "/s"
		r := runDaemon(t, parse(t, fmt.Sprintf("[service.x]\nlisten = ['%s']\n%s\n", path, tt.conf)))
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		for accepted := false; !accepted; runtime.Gosched() {
			r.do(func() { accepted = r.clients() == 1 })
		}
		var stopped time.Time
		r.do(func() {
			r.trigger(terminate)
			stopped = time.Now()
			if _, err := io.WriteString(c, strings.Repeat(tt.ask, lines)); err != nil {
				t.Error(err)
			}
		})
		got, err := io.ReadAll(c)
		if want := strings.Repeat(tt.answer, lines); string(got) != want || err != nil {
			t.Errorf("%s: got %d bytes, %v; want %d", tt.conf, len(got), err, len(want))
		}
		if waited := time.Since(stopped); waited > askGrace*3/4 {
			t.Errorf("%s: the end came after %v, want it with the last answer", tt.conf, waited)
		}
		c.Close()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	}
}
