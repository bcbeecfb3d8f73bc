// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"

	"golang.org/x/sys/unix"
)

// fdKind is what a descriptor can do and how it is to be read and written.
type fdKind uint8

const (
	kindReads    fdKind = 1 << iota // has input
	kindWrites                      // takes output
	kindSocket                      // send(2) with flags, shutdown(2), SO_ERROR
	kindPacket                      // keeps message boundaries: one send for each message
	kindTCP                         // RST is possible
	kindUnix                        // descriptors may be passed along
	kindTerminal                    // reports a hang-up as EIO
	kindUnknown                     // this bit and all above it
)

// possible reports whether a descriptor can be of kind k.
func (k fdKind) possible() bool {
	if k.isSocket() {
		family := k & (kindTCP | kindUnix)
		return k&bothWays == bothWays && k&kindTerminal == 0 && family != kindTCP|kindUnix && (family != kindTCP || k.isStream())
	}
	return k&bothWays != 0 && k&(kindPacket|kindTCP|kindUnix) == 0 && (k&kindTerminal == 0 || k&bothWays == bothWays)
}

func (k fdKind) reads() bool    { return k&kindReads != 0 }
func (k fdKind) writes() bool   { return k&kindWrites != 0 }
func (k fdKind) isSocket() bool { return k&kindSocket != 0 }
func (k fdKind) isStream() bool { return k&kindPacket == 0 }

// plainStream reports whether k is a stream of bytes and nothing beside them: a
// Unix socket may carry descriptors.
func (k fdKind) plainStream() bool { return k&(kindSocket|kindPacket|kindUnix) == kindSocket }

func (k fdKind) halfCloses() bool { return k&kindSocket != 0 }

// shortMeansDrained reports whether a read that returned less than was asked
// for has emptied the descriptor, so that the read to EAGAIN can be saved.
// epoll(7) allows it for streams, unless something stands behind the bytes
// (see marks and kernel.recv). Packets come one at a time, and a tty returns a
// line at a time.
func (k fdKind) shortMeansDrained() bool {
	return k&(kindSocket|kindPacket) == kindSocket
}

const bothWays = kindReads | kindWrites

// classify finds out what fd is. Regular files cannot be polled (EPERM of
// epoll_ctl(2)) and are refused there.
func classify(fd int) (fdKind, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
		return classifySocket(fd)
	case unix.S_IFCHR:
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			return bothWays | kindTerminal, nil
		}
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return 0, os.NewSyscallError("fcntl", err)
	}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return kindReads, nil
	case unix.O_WRONLY:
		return kindWrites, nil
	}
	return bothWays, nil
}

func classifySocket(fd int) (fdKind, error) {
	typ, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt", err)
	}
	k := bothWays | kindSocket
	switch {
	case typ == unix.SOCK_SEQPACKET:
		k |= kindPacket
	case typ != unix.SOCK_STREAM:
		return 0, ErrSocketType
	case domain == unix.AF_INET || domain == unix.AF_INET6:
		k |= kindTCP
	case domain == unix.AF_UNIX:
		k |= kindUnix
	}
	return k, nil
}
