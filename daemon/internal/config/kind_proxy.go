// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
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
	check:   checkProxy,
	beside:  1, // the connection to the backend
	targets: func(s *Service) []Address { return s.Of.(*Proxy).To },
	try:     say("hello"),
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
	switch {
	case err != nil:
		return Address{}, err
	case a.Network == "tcp" && a.AddrPort.Addr().IsUnspecified():
		port := a.Text[strings.LastIndexByte(a.Text, ':')+1:]
		return Address{}, fmt.Errorf("%q is every address of this machine, did you mean %q?", s, "127.0.0.1:"+port)
	}
	return a, nil
}

func checkProxy(b *builder, d described) {
	k := d.Of.(*Proxy)
	if _, ok := d.at["to"]; !ok {
		b.wrong(d.where("to"), errors.New(`missing, want an array such as ["127.0.0.1:8080"] or ["/run/app.sock"]`))
	}
	for _, to := range k.To {
		for _, a := range d.Listen {
			// Of all that a wildcard covers, only loopback is this machine for certain.
			wildcard := a.Network == "tcp" && a.AddrPort.Addr().IsUnspecified()
			if a.Overlaps(to) && (!wildcard || to.AddrPort.Addr().Unmap().IsLoopback()) {
				b.wrong(d.where("to"), fmt.Errorf("%s is this service itself, see listen", to))
			}
		}
	}
}
