// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/systemd"
)

// A Socket is an open listening socket. It does not accept: that is the event
// loop's work, which owns the descriptor then.
type Socket struct {
	FD        int
	Family    int             // AF_INET, AF_INET6 or AF_UNIX
	Text      string          // what getsockname(2) said, or listen says
	Addr      config.Address  // parsed; zero if listen could not say it
	Inherited bool            // from a service manager, which keeps it open
	Conf      *config.Service // it was opened with these keys; Of is nil

	file socketFile // of a Unix socket that we have bound
}

// Open binds an address of s and listens on it. The error names both, and wraps
// that of the system.
func Open(s *config.Service, addr config.Address) (*Socket, error) {
	sock, err := open(s, addr)
	if err != nil {
		return nil, fmt.Errorf("service %s: listen on %s: %w", s.Name, addr, err)
	}
	return sock, nil
}

func open(s *config.Service, addr config.Address) (*Socket, error) {
	fd, err := bind(addr, s)
	if err != nil {
		return nil, err
	}
	return identify(s, addr, fd)
}

// identify finds out what the daemon has to know of an open socket.
func identify(s *config.Service, addr config.Address, fd int) (sock *Socket, err error) {
	sock = &Socket{FD: fd, Text: addr.Text, Addr: addr, Conf: openedWith(s)}
	sock.Family, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err = os.NewSyscallError("getsockopt SO_DOMAIN", err); err == nil && sock.Unix() && addr.Path[0] == '/' {
		sock.file, err = newSocketFile(addr.Path)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return sock, nil
}

// Inherit takes a socket of the service manager for s, to which Assign gave it.
func Inherit(s *config.Service, from systemd.Socket) *Socket {
	sock := &Socket{FD: from.FD, Family: from.Family, Text: from.Addr, Inherited: true, Conf: openedWith(s)}
	sock.Addr, _ = config.ParseAddress(from.Addr)
	return sock
}

// openedWith returns the keys of s without those of its kind. A socket outlives reloads, and
// would keep the first of their tables of answers.
func openedWith(s *config.Service) *config.Service {
	keys := *s
	keys.Of = nil
	return &keys
}

// Unix reports whether clients are told apart by uid.
func (s *Socket) Unix() bool { return s.Family == unix.AF_UNIX }

// At reports whether clients of a, a value of listen, come to this socket.
func (s *Socket) At(a config.Address) bool { return a.Text == s.Text || same(a, s.Addr) }

// Unreachable reports whether the file of a Unix socket that we have bound is gone. If
// the file cannot be looked at, it counts as present: an attempt to bind it anew would
// only meet our own socket.
func (s *Socket) Unreachable() bool {
	if s.file.path == "" {
		return false
	}
	ours, err := s.file.present()
	return err == nil && !ours
}

// RemoveFile removes the file of a Unix socket that we have bound. It must be called
// before the socket is closed: as long as the socket answers, no other process replaces
// the file.
func (s *Socket) RemoveFile() {
	if s.file.path != "" {
		s.file.remove()
	}
}

// ChangedKeys returns the keys that the socket was opened with and that have another
// value in next, the service that gets the socket. They cannot be changed while it is
// open.
func (s *Socket) ChangedKeys(next *config.Service) (keys []string) {
	family := config.TCP
	if s.Unix() {
		family = config.Unix
	}
	for _, k := range config.SocketKeys {
		wasSet := k.At != "" || s.Inherited // the rest only a unit can set
		if wasSet && k.For&family != 0 && !slices.Equal(k.Text(s.Conf), k.Text(next)) {
			keys = append(keys, k.Name())
		}
	}
	return keys
}
