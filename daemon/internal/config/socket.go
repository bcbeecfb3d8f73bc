// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io/fs"
	"strconv"
)

// A SocketKey is a row about one key of the listening socket. The key is set when
// the socket is opened, by the manager from the generated unit or by the daemon
// itself, and never to an open socket. If a reload changes the key, the log says that
// it takes effect at the next start.
type SocketKey struct {
	key[Service]

	Unit string                  // what systemd.socket(5) calls it
	For  Family                  // the addresses on which it has an effect
	Text func(*Service) []string // the values as the unit has them; none: leave the line out
	At   string                  // the system call by which the daemon sets it; "": it cannot
}

// A Family is a set of address families.
type Family uint8

// The families of addresses in listen.
const (
	TCP Family = 1 << iota
	Unix
)

// Name returns the key as the file spells it.
func (k SocketKey) Name() string { return k.name }

// SocketKeys are in the order of the manual page.
var SocketKeys = []SocketKey{
	{
		key[Service]{"backlog", into(func(s *Service) *int { return &s.Backlog }, integer(1, 65535))},
		"Backlog", TCP | Unix, func(s *Service) []string { return []string{strconv.Itoa(s.Backlog)} }, "listen(2)",
	},
	{
		key[Service]{"socket_mode", into(func(s *Service) *fs.FileMode { return &s.SocketMode }, mode)},
		"SocketMode", Unix, func(s *Service) []string { return []string{fmt.Sprintf("%04o", s.SocketMode.Perm())} }, "fchmod(2)",
	},
	{
		key[Service]{"socket_user", into(func(s *Service) *string { return &s.SocketUser }, account)},
		"SocketUser", Unix, func(s *Service) []string { return given(s.SocketUser) }, "lchown(2)",
	},
	{
		key[Service]{"socket_group", into(func(s *Service) *string { return &s.SocketGroup }, account)},
		"SocketGroup", Unix, func(s *Service) []string { return given(s.SocketGroup) }, "lchown(2)",
	},
	{
		key[Service]{"bind_device", into(func(s *Service) *string { return &s.BindDevice }, device)},
		"BindToDevice", TCP, func(s *Service) []string { return given(s.BindDevice) }, "SO_BINDTODEVICE",
	},
	{
		key[Service]{"ip_allow", into(func(s *Service) *[]string { return &s.IPAllow }, parseUnitSources)},
		"IPAddressAllow", TCP, func(s *Service) []string { return s.IPAllow }, "",
	},
	{
		key[Service]{"ip_deny", into(func(s *Service) *[]string { return &s.IPDeny }, parseUnitSources)},
		"IPAddressDeny", TCP, func(s *Service) []string { return s.IPDeny }, "",
	},
}

// socketKeys are the same rows as keys.
var socketKeys = func() (keys []key[Service]) {
	for _, k := range SocketKeys {
		keys = append(keys, k.key)
	}
	return keys
}()

// given is the value, if there is one.
func given(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

// Families returns the families of the addresses in listen.
func (s *Service) Families() (f Family) {
	for _, a := range s.Listen {
		f |= a.Family()
	}
	return f
}

// Family returns whether a is an address of TCP or a Unix socket.
func (a Address) Family() Family {
	if a.Network == "unix" {
		return Unix
	}
	return TCP
}

// The values of TCP keepalive, by which a vanished client is found. The generated unit
// sets them, and so does a daemon that opens its own sockets.
const (
	KeepAliveIdle     = 30 // seconds of silence before the first probe
	KeepAliveInterval = 10 // seconds from one probe to the next
	KeepAliveProbes   = 3  // unanswered probes after which the peer counts as gone
)

// abstract reports whether a is a Unix socket without a file, which has neither
// permissions nor an owner.
func (a Address) abstract() bool { return a.Network == "unix" && a.Path[0] == '@' }
