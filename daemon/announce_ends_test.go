// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/proxyproto"
	"penstock/daemon/internal/service"
)

// TestAnnouncedRestart: half a header, and what was announced, go on with the next process,
// and one whose service is gone is ended.
func TestAnnouncedRestart(t *testing.T) {
	eachAnnounced(t, func(t *testing.T, backend, network string) {
		text := announces(t, backend, "per_source = 1")
		cfg := parse(t, text)
		r, _ := runRestartable(t, cfg)
		header := string(proxyproto.V2(announcedFrom, announcedTo))
		there := r.dial("e", network)
		there.say(header + "a")
		there.hears("a")
		half := r.dial("e", network)
		half.say(strings.Replace(header, "\xc0\x00\x02\x09", "\xc0\x00\x02\x0a", 1)[:20])
		r.taken("e", 20)
		r, _ = r.restart(t, cfg)
		r, out := r.restart(t, cfg)
		half.say(header[20:] + "b")
		half.hears("b")
		there.say("c")
		there.hears("c")
		second := r.dial("e", network)
		second.say(header)
		second.hearsEnd()
		r.do(func() {
			for c := range r.endpoints["e"].connections {
				s := service.SessionOf(c)
				if via := s.Via(); via == nil || via.To != announcedTo || via.Header != uint64(len(header)) || s.IsTCP() != (network == "tcp") {
					t.Errorf("of %v is known %+v", s.Peer(), via)
				}
			}
		})
		there.Close()
		half.Close()
		r.until("the end", func() bool { return r.clients() == 0 })
		r.do(func() {
			if n := len(r.sources.conns); n != 0 {
				t.Errorf("%d sources are counted when nobody is there", n)
			}
		})
		r.stop(t)
		wantLine(t, out, "connection refused", "reason=per_source", "peer=192.0.2.9:4000")
	})
}

// TestAnnouncedRestartEnds: the time of one of whom nothing was said goes on, and if its
// service is gone, it is ended with the others.
func TestAnnouncedRestartEnds(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		text := announces(t, "epoll", "")
		r, _ := runRestartable(t, parse(t, text))
		c := r.dial("e", network)
		c.say("PROXY ")
		r.taken("e", 6)
		r, _ = r.restart(t, parse(t, strings.Replace(text, `"echo"`, `"discard"`, 1)))
		c.hearsEnd()
		c = r.dial("e", network)
		c.say("PROXY ")
		r.taken("e", 6)
		queue := r.leave(t)
		was := announceTime
		announceTime = time.Millisecond
		r, out := runRestartable(t, parse(t, strings.Replace(text, `"echo"`, `"discard"`, 1)), queue)
		c.hearsEnd()
		r.until("the end", func() bool { return r.clients() == 0 })
		r.stop(t)
		announceTime = was
		wantLine(t, out, "connection refused", "no PROXY header in")
	}
}

// TestAnnouncedStop: a client whose header is on the way when the service ends is served
// once; one that says nothing does not hold up the end.
func TestAnnouncedStop(t *testing.T) {
	eachAnnounced(t, func(t *testing.T, backend, network string) {
		r := runDaemon(t, parse(t, announces(t, backend, "")))
		asks := r.dial("e", network)
		r.until("the client", func() bool { return r.clients() == 1 })
		r.do(func() {
			for c := range r.endpoints["e"].connections {
				service.SessionOf(c).Since = r.loop.Now() // it has come just now
			}
			r.advance(terminate)
			asks.say(string(proxyproto.V1(announcedFrom, announcedTo)) + "late")
		})
		asks.hears("late")
		asks.hearsEnd()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	})
	r := runDaemon(t, parse(t, announces(t, "epoll", "")))
	silent := r.dial("e", "unix")
	r.until("the client", func() bool { return r.clients() == 1 })
	r.do(func() {
		for c := range r.endpoints["e"].connections {
			s := service.SessionOf(c)
			s.Since = s.Since.Add(-2 * askGrace) // it has been here for long
		}
		r.advance(terminate)
	})
	silent.hearsEnd()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

// TestAnnouncedReload: a reload that takes the proxy off the list, or changes the service,
// leaves those alone who are about to be announced.
func TestAnnouncedReload(t *testing.T) {
	text := announces(t, "epoll", "")
	r := runDaemon(t, parse(t, text))
	c := r.dial("e", "unix")
	r.until("the client", func() bool { return r.clients() == 1 })
	next := parse(t, strings.Replace(text, `["127.0.0.0/8", "unix"]`, `[]`+"\nqueue = 4096", 1))
	r.do(func() {
		if err := r.putInForce(next); err != nil {
			t.Error(err)
		}
	})
	c.say(string(proxyproto.V1(announcedFrom, announcedTo)) + "x")
	c.hears("x")
	plain := r.dial("e", "unix")
	plain.say("y")
	plain.hears("y")
	plain.Close()
	c.Close()
	r.stop(t)
}

// TestAnnouncedExchange: a silent client of another service gives its place to one that is
// announced, also where that one holds the last place of its own service.
func TestAnnouncedExchange(t *testing.T) {
	for _, backend := range []string{"epoll", "io_uring"} {
		text := announces(t, backend, "max_connections = 1") + fmt.Sprintf(`
[service.r]
kind = "room"
listen = [%q]
accept_proxy = ["127.0.0.0/8"]
welcome = ""
[limits]
per_source = 1
`, freeAddress(t))
		r := runDaemon(t, parse(t, text))
		silent := r.dial("r", "tcp")
		silent.say(string(proxyproto.V1(announcedFrom, announcedTo)))
		silent.Close()
		r.awaitSilent(1)
		c := r.dial("e", "tcp")
		c.say(string(proxyproto.V1(announcedFrom, announcedTo)) + "x")
		c.hears("x")
		c.Close()
		r.stop(t)
	}
}
