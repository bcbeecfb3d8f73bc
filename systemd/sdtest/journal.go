// SPDX-License-Identifier: Apache-2.0

package sdtest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A Journal is the native socket of a journald. One goroutine may use it.
type Journal struct {
	Path string
	fd   int
}

// A Field of a journal record.
type Field struct{ Name, Value string }

// An Entry is a record, its fields in the order in which they were sent.
type Entry struct {
	Fields []Field
	Memfd  bool // came as a sealed memfd, not as a datagram
}

// ListenJournal opens a journal's socket at path.
func ListenJournal(path string) (*Journal, error) {
	fd, err := bind(path)
	if err != nil {
		return nil, err
	}
	return &Journal{Path: path, fd: fd}, nil
}

// Recv returns the next record. It fails on every record that journald would
// refuse or change.
func (j *Journal) Recv(timeout time.Duration) (Entry, error) {
	p, fds, err := receive(j.fd, timeout)
	if err != nil {
		return Entry{}, err
	}
	defer Message{FDs: fds}.Close()
	var e Entry
	switch {
	case len(fds) > 1, len(fds) == 1 && len(p) > 0:
		return e, fmt.Errorf("%d descriptors with %d bytes", len(fds), len(p))
	case len(fds) == 1:
		if p, err = readSealed(fds[0]); err != nil {
			return e, err
		}
		e.Memfd = true
	}
	e.Fields, err = ParseNative(p)
	return e, err
}

// Fill stuffs the queue with records "X_FILL=1", so that the next sender finds
// no room, and returns how many went in.
func (j *Journal) Fill() (int, error) { return fill(j.Path, []byte("X_FILL=1\n")) }

// Close closes the socket. Another call does nothing.
func (j *Journal) Close() error { return closeOnce(&j.fd) }

// Get returns the first value of a field.
func (e Entry) Get(name string) (string, bool) {
	for _, f := range e.Fields {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}

// readSealed reads a memfd as journald does, which up to systemd 253 wants
// exactly these seals.
func readSealed(fd int) ([]byte, error) {
	const want = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	if got != want {
		return nil, fmt.Errorf("seals are %#x, want %#x", got, want)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, os.NewSyscallError("fstat", err)
	}
	p := make([]byte, st.Size)
	n, err := unix.Pread(fd, p, 0)
	if err == nil && n != len(p) {
		err = errors.New("short memfd")
	}
	return p, err
}

// ParseNative reads one record of the journal's native protocol, strictly:
// every byte belongs to a field, and every name is one that journald takes.
func ParseNative(p []byte) ([]Field, error) {
	if len(p) == 0 {
		return nil, errors.New("empty record")
	}
	var fields []Field
	for len(p) > 0 {
		line, rest, ok := bytes.Cut(p, []byte("\n"))
		if !ok {
			return nil, fmt.Errorf("no newline after %q", p)
		}
		name, value, inline := strings.Cut(string(line), "=")
		if !inline {
			if len(rest) < 8 {
				return nil, fmt.Errorf("field %q: no length", name)
			}
			n := binary.LittleEndian.Uint64(rest)
			rest = rest[8:]
			if n >= uint64(len(rest)) || rest[n] != '\n' {
				return nil, fmt.Errorf("field %q: length %d does not fit", name, n)
			}
			value, rest = string(rest[:n]), rest[n+1:]
		}
		if err := checkName(name); err != nil {
			return nil, err
		}
		fields = append(fields, Field{name, value})
		p = rest
	}
	return fields, nil
}

// checkName holds the rules of journald for names that clients may send.
func checkName(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("field name of %d bytes", len(name))
	}
	if c := name[0]; c == '_' || '0' <= c && c <= '9' {
		return fmt.Errorf("field name %q begins with %q", name, c)
	}
	for i := range len(name) {
		if c := name[i]; c != '_' && (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return fmt.Errorf("field name %q holds %q", name, c)
		}
	}
	return nil
}
