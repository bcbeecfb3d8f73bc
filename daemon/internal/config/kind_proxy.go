// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// KindProxy passes bytes on to another server and back.
const KindProxy Kind = "proxy"

// Proxy passes bytes on to another server, the backend, and back.
type Proxy struct {
	To             []Address // where the backend may be, at least one: the first that answers serves a client
	SendProxy      SendProxy
	ConnectTimeout time.Duration // for one address
	Wait           time.Duration // from the client's coming, for a backend that does not answer; 0: one attempt
}

// SendProxy says whether the backend is told who the client is.
type SendProxy string

// The values of the key "send_proxy".
const (
	SendProxyOff SendProxy = "off"
	SendProxyV1  SendProxy = "v1" // a line of text
	SendProxyV2  SendProxy = "v2" // binary
)

var proxyKind = kind{
	name: KindProxy,
	keys: []key[Service]{
		{"to", own(func(k *Proxy) *[]Address { return &k.To }, targets)},
		{"send_proxy", own(func(k *Proxy) *SendProxy { return &k.SendProxy }, choice(SendProxyOff, SendProxyV1, SendProxyV2))},
		{"connect_timeout", own(func(k *Proxy) *time.Duration { return &k.ConnectTimeout }, duration(false, 10*time.Millisecond, time.Hour))},
		{"wait", own(func(k *Proxy) *time.Duration { return &k.Wait }, timeout(time.Hour))},
	},
	defaults: func(s *Service) {
		listening(s) // what the two sides have agreed on is not known here
		s.Of = &Proxy{SendProxy: SendProxyOff, ConnectTimeout: 5 * time.Second, Wait: 30 * time.Second}
	},
	overflow: policies{Pause, map[Overflow]string{
		DropOldest: "bytes of a stream are never dropped",
		DropNewest: "bytes of a stream are never dropped",
	}},
	check:    checkProxy,
	beside:   1, // the connection to the backend
	targets:  func(s *Service) []Address { return s.Of.(*Proxy).To },
	children: func(s *Service) int { return s.Of.(*Proxy).names() },
	conns:    2, // the output and error output of one lookup
	files:    6, // these and its pidfd, and three for a moment as it is started: its own ends, and its input
	programs: func(s *Service) []string {
		if s.Of.(*Proxy).names() == 0 {
			return nil
		}
		return []string{Getent}
	},
	try: say("hello"),
}

// Getent is the program that looks names up, of Debian's package libc-bin.
const Getent = "/usr/bin/getent"

// names returns how many of the targets are names.
func (p *Proxy) names() (n int) {
	for _, to := range p.To {
		if to.Network == Name {
			n++
		}
	}
	return n
}

// maxTargets bounds how long a client can wait for addresses that do not answer.
const maxTargets = 16

// targets takes the addresses of the backend.
func targets(v any) ([]Address, error) {
	list, err := texts(v)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > maxTargets {
		return nil, fmt.Errorf("has %d addresses, want 1 to %d", len(list), maxTargets)
	}
	var out []Address
	var errs problems
	for _, s := range list {
		a, err := parseTarget(s)
		if err != nil {
			errs.add(err)
			continue
		}
		out = append(out, a)
	}
	return out, errs.err()
}

// parseTarget takes what "listen" takes, if it is one place. A port alone would be
// every address, which is nowhere to connect to.
func parseTarget(s string) (Address, error) {
	a, err := ParseAddress(s)
	if err != nil {
		if name, ok := parseName(s); ok {
			return name, nil
		}
	}
	switch {
	case errors.Is(err, errForm):
		return Address{}, fmt.Errorf("%q: want IPv4:PORT, [IPv6]:PORT, HOST:PORT, /path or @name%s", s, instead(s, true))
	case errors.Is(err, errName):
		return Address{}, fmt.Errorf("%q: %w%s", s, explainName(s), instead(s, true))
	case err != nil:
		return Address{}, err
	case needsInterface(a.AddrPort.Addr()):
		return Address{}, fmt.Errorf("%q: an address of fe80::/10 needs the interface, as in %q", s, example(a.AddrPort.Addr(), a.AddrPort.Port()))
	case a.Network == "tcp" && a.AddrPort.Addr().IsUnspecified():
		return Address{}, fmt.Errorf("%q is every address of this machine%s", s, instead(s, true))
	}
	return a, nil
}

// explainName says why parseName refuses s, which has a colon. What is IPv6 lacks the port,
// or brackets.
func explainName(s string) error {
	colon := strings.LastIndexByte(s, ':')
	port, errPort := parsePort(s[colon+1:])
	addr, err := netip.ParseAddr(s[:colon])
	if whole, no := netip.ParseAddr(s); no == nil && (err != nil || errPort != nil) {
		return fmt.Errorf("has no port, as in %q", example(whole, 80))
	}
	if err == nil && addr.Is6() {
		return fmt.Errorf("IPv6 goes in brackets, as in %q", example(addr, cmp.Or(port, 80)))
	}
	if _, ok := parseName(s[:colon] + ":1"); ok && instead(s, true) == "" {
		return errPort
	}
	return errors.New("what stands before the port is neither an address nor the name of a host")
}

// example is a target as it is to be written.
func example(addr netip.Addr, port uint16) string {
	if needsInterface(addr) {
		addr = addr.WithZone("eth0")
	}
	return textTCP(netip.AddrPortFrom(addr, port))
}

// needsInterface reports whether addr is several places, one on each interface.
func needsInterface(addr netip.Addr) bool {
	return addr.IsLinkLocalUnicast() && addr.Is6() && addr.Zone() == ""
}

// parseName takes "host:port", where the host is no number. A name in digits and dots would
// be a mistyped address.
func parseName(s string) (Address, bool) {
	host, rest, found := strings.Cut(s, ":")
	port, err := parsePort(rest)
	if !found || err != nil || len(host) > 253 {
		return Address{}, false
	}
	labels := strings.Split(strings.TrimSuffix(host, "."), ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || strings.Trim(label, letters+digits+"-_") != "" {
			return Address{}, false
		}
	}
	if strings.Trim(labels[len(labels)-1], digits) == "" {
		return Address{}, false
	}
	return Address{Text: s, Network: Name, AddrPort: netip.AddrPortFrom(netip.Addr{}, port), Host: host}, true
}

const (
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits  = "0123456789"
)

// checkNames says what names cost, and what they need.
func checkNames(b *builder, d described) {
	for _, to := range d.Of.(*Proxy).To {
		if to.Network == Name {
			b.warn(d.where("to"), fmt.Errorf("%q is a name, so the sandbox lets the service reach every address (IPAddressAllow=any)", to.Text))
		}
	}
}

func checkProxy(b *builder, d described) {
	k := d.Of.(*Proxy)
	if _, ok := d.at["to"]; !ok {
		b.wrong(d.where("to"), errors.New(`missing, want an array such as ["127.0.0.1:8080"] or ["/run/app.sock"]`))
	}
	checkNames(b, d)
	for _, to := range k.To {
		if slices.ContainsFunc(d.Listen, to.leadsTo) {
			b.wrong(d.where("to"), fmt.Errorf("%s is this service itself, see listen", to))
		}
	}
}

// leadsTo reports whether a connection to the target comes to what listens on a. Of all
// that a wildcard covers, only loopback is this machine for certain, and of all names only
// that of loopback.
func (to Address) leadsTo(a Address) bool {
	wildcard := a.Network == "tcp" && a.AddrPort.Addr().IsUnspecified()
	if to.Network == Name {
		local := strings.EqualFold(strings.TrimSuffix(to.Host, "."), "localhost")
		return local && a.Network == "tcp" && a.AddrPort.Port() == to.AddrPort.Port() && (wildcard || a.AddrPort.Addr().Unmap().IsLoopback())
	}
	return a.Overlaps(to) && (!wildcard || to.AddrPort.Addr().Unmap().IsLoopback())
}
