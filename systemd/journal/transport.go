// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/systemd/internal/datagram"
)

// stderrIsJournal reports whether standard error is the stream to the journal of which
// the manager has told the device and the inode in decimal, "8:1234", in JOURNAL_STREAM
// (systemd.exec(5)). Somebody may have redirected it since, and what is no such text is
// none.
func stderrIsJournal(stream string) bool {
	device, inode, _ := strings.Cut(stream, ":")
	dev, err := strconv.ParseUint(device, 10, 64)
	if err != nil {
		return false
	}
	ino, err := strconv.ParseUint(inode, 10, 64)
	if err != nil {
		return false
	}
	var st unix.Stat_t
	return unix.Fstat(2, &st) == nil && uint64(st.Dev) == dev && st.Ino == ino
}

// A journalConn is the transport for journald's native socket. The socket is
// connected, which saves the path look-up of each send, and lets poll(2) see
// the right queue at the end of the process. It is connected anew when
// systemd-journald.socket was replaced. A restart of journald alone does not
// replace it.
type journalConn struct {
	fd   int
	addr unix.SockaddrUnix
	full bool // the last send failed for want of room
}

func dialJournal(path string) (*journalConn, error) {
	j := &journalConn{fd: -1, addr: unix.SockaddrUnix{Name: path}}
	fd, err := datagram.Dial(&j.addr)
	if err != nil {
		return nil, fmt.Errorf("journal: socket %s: %w", path, err)
	}
	j.fd = fd
	return j, nil
}

func (j *journalConn) send(p []byte) (int, error) {
	err := j.try(p)
	if datagram.PeerGone(err) {
		fd, derr := datagram.Dial(&j.addr)
		if derr != nil {
			j.full = false
			return 0, later(err)
		}
		unix.Close(j.fd)
		j.fd = fd
		err = j.try(p)
	}
	j.full = err == unix.EAGAIN
	if err != nil {
		return 0, later(err)
	}
	return len(p), nil
}

// try sends p as a datagram or, if it is too large for one, as a memfd.
func (j *journalConn) try(p []byte) error {
	err := datagram.Send(j.fd, p, nil)
	if err != unix.EMSGSIZE && err != unix.ENOBUFS {
		return err
	}
	fd, err := sealedMemfd(p)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return datagram.Send(j.fd, nil, unix.UnixRights(fd))
}

func (j *journalConn) wait(deadline time.Time) bool {
	if !j.full {
		return false // journald is gone: waiting for room would not help
	}
	ok, err := datagram.Await(j.fd, unix.POLLOUT, deadline)
	return ok && err == nil
}

func (j *journalConn) close() error { return unix.Close(j.fd) }

// seals keep a memfd unchanged while journald maps it. Up to systemd 253
// journald refuses a record with any other set of seals. So MFD_NOEXEC_SEAL,
// which adds F_SEAL_EXEC, is used only where the kernel demands it.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL

// sealedMemfd returns a descriptor of a sealed file that holds p. The usual
// alternative, an unlinked file in /dev/shm, fails in a sandbox that hides it,
// and journald accepts less from it.
func sealedMemfd(p []byte) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("journal-record", flags)
	if err == unix.EACCES { // sysctl vm.memfd_noexec=2, kernel 6.3
		fd, err = unix.MemfdCreate("journal-record", flags|unix.MFD_NOEXEC_SEAL)
	}
	if err != nil {
		return -1, err
	}
	for rest := p; len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			unix.Close(fd)
			return -1, err
		}
		rest = rest[n:]
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// A stream is the transport for lines on a descriptor that is not ours alone:
// standard error. O_NONBLOCK would change it for everyone who shares it, the
// shell that started us included. So poll(2) is asked first; a line of at most
// PIPE_BUF bytes then fits into a pipe, and into a socket, for which POLLOUT
// means more room than that.
type stream struct {
	fd     int
	socket bool // then the write itself can be told not to block
}

func newStream(fd int) *stream {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return &stream{fd: fd, socket: err == nil && st.Mode&unix.S_IFMT == unix.S_IFSOCK}
}

func (s *stream) send(p []byte) (int, error) {
	if ok, err := datagram.Await(s.fd, unix.POLLOUT, time.Time{}); err != nil || !ok {
		return 0, later(unix.EAGAIN)
	}
	for {
		var n int
		var err error
		if s.socket {
			n, err = unix.SendmsgN(s.fd, p, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		} else {
			// A pipe without reader gives EPIPE; the Go runtime swallows the
			// SIGPIPE of a write that is not its own.
			n, err = unix.Write(s.fd, p)
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, later(err)
		}
		return n, nil
	}
}

func (s *stream) wait(deadline time.Time) bool {
	ok, err := datagram.Await(s.fd, unix.POLLOUT, deadline)
	return ok && err == nil
}

func (s *stream) close() error { return nil } // descriptor 2 stays open
