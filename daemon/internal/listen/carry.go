// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"fmt"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/record"
	"penstock/systemd"
)

// A process that becomes another one keeps its listening sockets open, and their files
// where they are. What the kernel does not tell of them goes along in a record: how
// listen has spelled the address, and which file the socket was bound to. By its inode
// the file is known from one that somebody else has put there since.

// A Left is a listening socket that a former process has left open. The zero value is
// none.
type Left struct {
	FD   int
	Text string // as of Socket

	file socketFile
}

// Save returns what the next process has to know of the socket.
func (s *Socket) Save() []byte {
	var w record.Writer
	w.Text([]byte(s.Text))
	w.Text([]byte(s.file.path))
	w.Number(s.file.dev)
	w.Number(s.file.ino)
	return w
}

// Load returns the socket fd with what Save has said of it. Without that (saved is nil,
// or not readable) only the address is known, and its file is nobody's.
func Load(fd int, saved []byte) Left {
	r := record.NewReader(saved)
	l := Left{FD: fd, Text: string(r.Text()), file: socketFile{string(r.Text()), r.Number(), r.Number()}}
	if r.Err() != nil {
		l = Left{FD: fd}
		l.Text, _ = systemd.Address(fd) // "" is no address of listen
	}
	return l
}

// Listens reports whether fd is a listening socket.
func Listens(fd int) bool {
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	return err == nil && on != 0
}

// At reports whether clients of a, a value of listen, come to the socket.
func (l Left) At(a config.Address) bool { return sameAddress(a, l.Text) }

// Close is for a socket that no service wants any more. It removes the file.
func (l Left) Close() {
	if l.file.path != "" {
		l.file.remove()
	}
	_ = unix.Close(l.FD)
}

// Adopt takes a socket that was left open for s, which lists it at addr. It owns the
// descriptor. The error says also that the file of a Unix socket is gone: the socket is
// closed then, since no client could come to it.
func Adopt(s *config.Service, addr config.Address, from Left) (*Socket, error) {
	sock, err := identify(s, addr, from.FD)
	if err != nil {
		return nil, fmt.Errorf("service %s: take over %s: %w", s.Name, addr, err)
	}
	if from.file.path != "" {
		sock.file = from.file
	}
	if sock.Unreachable() {
		_ = unix.Close(from.FD)
		return nil, fmt.Errorf("service %s: take over %s: its file is another socket's", s.Name, addr)
	}
	return sock, nil
}
