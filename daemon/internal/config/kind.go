// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"slices"
	"time"
)

// A Kind is what a service does with its connections.
type Kind string

// A kind is a row: all that the configuration, a reload, the limits, the
// generator and the welcome have to know of one kind of service. The row stands
// in kind_NAME.go together with the keys, their defaults and their checks, and
// nothing else lists kinds. What the kind does on the wire is a file of the same
// name in package service.
//
// The alternative was an interface with a type for each kind. For most kinds most of
// its methods would be empty.
type kind struct {
	name Kind
	keys []key[Service] // beside the common ones

	// leads names the key, if any, whose value sets the defaults of others. It
	// is set before them, whatever the order in the file.
	leads string

	// defaults sets Of, and common keys whose default is this kind's own.
	defaults func(*Service)
	overflow policies
	// check reports what the keys mean together, and reads the files they name.
	check func(*builder, described)

	// delimiter returns what ends a message of a client; nil: nothing does.
	delimiter func(*Service) string

	// same compares Of of two services of the kind; nil: field by field.
	same func(a, b *Service) bool

	conns    int                      // connections of the loop that are no clients: pipes
	files    int                      // open files beside sockets and clients
	beside   int                      // connections of the loop, and open files, for each client beside its own
	holds    func(*Service) int64     // bytes kept however many clients there are
	programs func(*Service) []string  // what it executes
	children func(*Service) int       // programs at once; conns and files are those of one. nil: one
	reads    func(*Service) []string  // files that it reads while it runs
	targets  func(*Service) []Address // what it connects to

	// device returns the path of a device that it opens, "" for none, and whether it
	// writes to it.
	device func(*Service) (path string, write bool)

	// try returns a shell command that shows the service at work; to is where
	// it listens, as arguments of nc(1).
	try func(s *Service, to string) string
}

// kinds are in the order of the manual page.
var kinds = []*kind{
	&lookupKind, &echoKind, &tickerKind, &handlerKind, &roomKind, &bridgeKind,
	&proxyKind, &discardKind, &daytimeKind, &timeKind, &chargenKind, &qotdKind,
	&tailKind, &execKind,
}

// row returns the row of a kind. An unknown kind has an empty one, so that the
// keys that all kinds have are still checked.
func (k Kind) row() *kind {
	for _, row := range kinds {
		if row.name == k {
			return row
		}
	}
	return &kind{}
}

// Kinds returns every kind, in the order of the manual page.
func Kinds() []Kind {
	out := make([]Kind, len(kinds))
	for i, row := range kinds {
		out[i] = row.name
	}
	return out
}

// key returns the row of the key that a service of this kind has by that name.
func (row *kind) key(name string) (key[Service], bool) {
	for _, table := range [][]key[Service]{commonKeys, socketKeys, row.keys} {
		if i := slices.IndexFunc(table, func(k key[Service]) bool { return k.name == name }); i >= 0 {
			return table[i], true
		}
	}
	return key[Service]{}, false
}

// rank is the order in which the keys of a service are set: first the key that
// sets the defaults of others.
func (row *kind) rank(name string) int {
	if name != "" && name == row.leads {
		return 0
	}
	return 1
}

// having returns the kinds that have a key of their own by that name.
func having(name string) (out []Kind) {
	for _, row := range kinds {
		if slices.ContainsFunc(row.keys, func(k key[Service]) bool { return k.name == name }) {
			out = append(out, row.name)
		}
	}
	return out
}

// serviceKeyNames returns the keys that some service may have. A key of several kinds is
// repeated: to look for repetitions takes longer than to compare them.
func serviceKeyNames() []string {
	var out []string
	add := func(keys []key[Service]) {
		for _, k := range keys {
			out = append(out, k.name)
		}
	}
	add(commonKeys)
	add(socketKeys)
	for _, row := range kinds {
		add(row.keys)
	}
	return out
}

// own does what into does, for a key of one kind: field is a member of Service.Of.
//
//go:noinline
func own[K, V any](field func(*K) *V, parse func(any) (V, error)) func(*Service, any) error {
	return into(func(s *Service) *V { return field(s.Of.(*K)) }, parse)
}

// Continues reports whether a reload lets next go on with the connections of s. It does
// not if the kind is another one, which speaks another language, or if a bridge begins or
// ceases to speak TELNET. After another delimiter, the part of a message that has come
// already would be read as something else.
func (s *Service) Continues(next *Service) bool {
	return s.Kind == next.Kind && s.Delimiter() == next.Delimiter() && s.telnet() == next.telnet()
}

// telnet returns what the clients of a bridge speak of it.
func (s *Service) telnet() Telnet {
	if k, ok := s.Of.(*Bridge); ok {
		return k.Telnet
	}
	return TelnetOff
}

// Delimiter returns what ends a message of a client; "": nothing does.
func (s *Service) Delimiter() string {
	if delimiter := s.Kind.row().delimiter; delimiter != nil {
		return delimiter(s)
	}
	return ""
}

// SameAs reports whether every key of the two has the same value.
func (s *Service) SameAs(t *Service) bool {
	a, b := *s, *t
	a.Of, b.Of = nil, nil
	return reflect.DeepEqual(a, b) && s.sameOf(t)
}

func (s *Service) sameOf(t *Service) bool {
	if same := s.Kind.row().same; same != nil && s.Kind == t.Kind {
		return same(s, t)
	}
	return reflect.DeepEqual(s.Of, t.Of)
}

// Conns returns how many connections of the loop the service needs that are no
// clients.
func (s *Service) Conns() int { return s.Kind.row().conns * s.Children() }

// Files returns how many open files the service needs beside those of its
// clients: its sockets, what its kind opens, and what a companion needs for it.
func (s *Service) Files() int {
	return len(s.Listen) + s.Kind.row().files*s.Children() + s.companionPlaces()
}

// Children returns how many programs of the service may run at once, if it has any.
func (s *Service) Children() int {
	if children := s.Kind.row().children; children != nil {
		return children(s)
	}
	return 1
}

// Beside returns how many connections of the loop, and open files, the service needs at
// most for its clients beside their own, if there are at most so many clients.
func (s *Service) Beside(clients int) int {
	if s.MaxConnections > 0 {
		clients = min(clients, s.MaxConnections)
	}
	return clients * s.Kind.row().beside
}

// Holds estimates the bytes that the service keeps beside those of its clients.
func (s *Service) Holds() int64 {
	if holds := s.Kind.row().holds; holds != nil {
		return holds(s)
	}
	return 0
}

// perEntry is what a table or a list adds to each of its texts, in bytes.
const perEntry = 128

// Programs returns the absolute paths of what the service executes.
func (s *Service) Programs() []string {
	if programs := s.Kind.row().programs; programs != nil {
		return programs(s)
	}
	return nil
}

// Reads returns the absolute paths of the files that the service reads while it runs.
func (s *Service) Reads() []string {
	if reads := s.Kind.row().reads; reads != nil {
		return reads(s)
	}
	return nil
}

// Targets returns the addresses that the service connects to.
func (s *Service) Targets() []Address {
	if targets := s.Kind.row().targets; targets != nil {
		return targets(s)
	}
	return nil
}

// Device returns the path of a device that the service opens, "" for none, and whether
// it writes to it.
func (s *Service) Device() (path string, write bool) {
	if device := s.Kind.row().device; device != nil {
		return device(s)
	}
	return "", false
}

// Try returns a shell command that shows the service at work. to is where it
// listens, as arguments of nc(1) from Debian's netcat-openbsd (-N: half-close
// at the end of input, -d: no input).
func (s *Service) Try(to string) string {
	if try := s.Kind.row().try; try != nil {
		return try(s, to)
	}
	return listenOnly(s, to)
}

// listenOnly is for kinds that speak first.
func listenOnly(_ *Service, to string) string { return "nc -d " + to }

// say is for kinds that answer any text.
func say(text string) func(*Service, string) string {
	return func(_ *Service, to string) string { return "echo " + text + " | nc -N " + to }
}

// asking is the default of idle_timeout: a client that asks and is answered has
// five minutes to ask again.
const asking = 5 * time.Minute

// listening has no idle_timeout. A client that mostly listens is silent by
// nature; TCP keepalive finds those that died.
func listening(s *Service) { s.IdleTimeout = 0 }
