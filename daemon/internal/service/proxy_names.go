// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/process"
	"penstock/evloop"
)

// A backend may be listed by the name of its host. A name is looked up by getent(1), one
// process for a name at most, and all clients that need it wait for the one answer:
//
//	unknown ─► asking ─► known ─── all its addresses have failed ──► asking, if the last
//	              ▲        │       or the answer was an error        answer is old enough
//	              └────────┘
//
// What is known is kept until an attempt fails, and not for the time that the server of
// names allows: getent does not tell that time.
//
// A program, because it knows what the machine does: hosts(5), nsswitch.conf(5), names in
// .local. Package net would know the first alone, and makes the binary larger by a tenth
// of what it may have.
type hostName struct {
	p        *proxy
	host     string
	addrs    []netip.Addr
	err      error
	asked    evloop.Time       // when the last answer came; 0: never
	question *process.Question // under way; nil: none
	failed   bool              // to be asked for again
	waiting  map[*search]bool  // for the answer
}

const (
	// longestLookup is what resolv.conf(5) allows for two servers that say nothing.
	longestLookup = 10 * time.Second
	// lookupPause is the least time between two lookups of a name.
	lookupPause = time.Second
	// mostAddresses of a name are tried.
	mostAddresses = 8
)

var (
	errUnknown  = errors.New("no address is known for this name")
	errUnlisted = errors.New("a reload has taken the name out")
)

// name returns what is known of a host.
func (p *proxy) name(host string) *hostName {
	n := p.names[host]
	if n == nil {
		n = &hostName{p: p, host: host, waiting: map[*search]bool{}}
		if p.names == nil {
			p.names = map[string]*hostName{}
		}
		p.names[host] = n
	}
	return n
}

// forget ends the lookups of names that are not listed any more; with no list, of all.
func (p *proxy) forget(listed []config.Address) {
	for host, n := range p.names {
		if !slices.ContainsFunc(listed, func(a config.Address) bool { return a.Host == host }) {
			n.question.Cancel()
			n.answered(nil, errUnlisted)
			delete(p.names, host)
		}
	}
}

// known reports whether there is an answer that may be used.
func (n *hostName) known() bool {
	return n.question == nil && n.asked != 0 && (!n.failed || n.p.env.Loop.Now().Sub(n.asked) < lookupPause)
}

// ask looks the name up. The answer comes in a later turn.
func (n *hostName) ask() {
	if n.question != nil {
		return
	}
	limit := min(longestLookup, n.p.keys.ConnectTimeout)
	argv := []string{n.p.getent, "ahosts", n.host} // no name begins with a dash
	l := n.p.env.Loop
	l.Charge(forkCalls)
	var err error
	n.question, err = process.Ask(l, n.p.env.Log, argv, limit, func(text []byte, err error) {
		var addrs []netip.Addr
		if err == nil {
			addrs, err = addresses(text)
		}
		n.answered(addrs, n.explain(err))
	})
	if err != nil {
		l.Post(func() { n.answered(nil, n.explain(err)) })
	}
}

// forkCalls is what a start costs in a turn, see mostBegun.
const forkCalls = 32

// explain says what an error of getent means.
func (n *hostName) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case err == process.Status("exit status 2"): // getent(1)
		return fmt.Errorf("%s: %w", n.host, errUnknown)
	}
	return fmt.Errorf("look up %s by %s: %w", n.host, n.p.getent, err)
}

// answered has those go on who wait, each by its own timer: there may be a thousand. After
// a failed lookup the addresses that are known are tried again: they may be good still.
func (n *hostName) answered(addrs []netip.Addr, err error) {
	n.question, n.asked = nil, n.p.env.Loop.Now()
	if err == nil || err == errUnlisted {
		n.addrs = addrs
	}
	n.err, n.failed = err, err != nil
	for s := range n.waiting {
		s.leaveName()
		s.within = 0
		s.p.env.Loop.Cancel(s.timer)
		s.wait(0)
	}
}

// leaveName has the search wait for no name any more.
func (s *search) leaveName() {
	if s.name != nil {
		delete(s.name.waiting, s)
		s.name = nil
	}
}

// address returns the next address of the host to try. It returns false if the name is yet
// to be looked up, or the search goes on with the next target.
func (s *search) address(of config.Address) (to config.Address, ok bool) {
	n := s.p.name(of.Host)
	switch {
	case !n.known():
		n.waiting[s] = true
		s.name = n
		s.wait(s.patience())
		n.ask()
		return to, false
	case s.within >= len(n.addrs):
		n.failed = true
		if n.err != nil {
			s.err = n.err
		}
		s.last = of
		s.skip()
		return to, false
	}
	ap := netip.AddrPortFrom(n.addrs[s.within], of.AddrPort.Port())
	s.within++
	return config.Address{Text: of.Text + " (" + ap.Addr().String() + ")", Network: "tcp", AddrPort: ap}, true
}

// skip goes on with the next target.
func (s *search) skip() {
	s.within = 0
	s.next++
	s.again()
}

// addresses reads what `getent ahosts` prints, a line for each address and type of socket:
//
//	192.0.2.7       STREAM app.example
//	192.0.2.7       DGRAM
//
// One that is every address is none: it is how lists against advertising say "nowhere".
func addresses(text []byte) (out []netip.Addr, err error) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) != 2 && len(words) != 3 {
			return nil, fmt.Errorf("cannot read its answer %.80q", line)
		}
		addr, err := netip.ParseAddr(string(words[0]))
		if err != nil {
			return nil, fmt.Errorf("cannot read its answer %.80q", line)
		}
		addr = addr.Unmap()
		if len(out) < mostAddresses && !addr.IsUnspecified() && !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	if len(out) == 0 {
		return nil, errUnknown
	}
	return out, nil
}
