// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// /proc/net/unix has the path of a Unix socket, but not its file: since the bind,
// another program may have put a file of its own there. sock_diag(7) returns the inode
// of the file. The alternative was to connect, but that would start the service.
//
//	request  nlmsghdr  unix_diag_req: family, protocol, 2 of padding, states, ino, show, cookie
//	answer   nlmsghdr  unix_diag_msg: family, type, state, 1 of padding, ino, cookie
//	                   nlattr UNIX_DIAG_VFS: inode, device

// Of linux/sock_diag.h and linux/unix_diag.h.
const (
	sockDiagByFamily = 20
	unixDiagReqSize  = 24
	unixDiagMsgSize  = 16
	unixDiagShowVFS  = 2
	unixDiagVFS      = 1
	stateListen      = 10
)

// diagPatience is for a kernel that does not answer.
const diagPatience = 5 // seconds

// boundFiles returns, for each listening Unix socket by inode, the low 32 bits of the
// inode of its file. An error may mean that the kernel was built without sock_diag.
func boundFiles() (map[uint64]uint32, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagPatience}); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Sendto(fd, diagRequest(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	order := binary.NativeEndian
	files := map[uint64]uint32{}
	for buf := make([]byte, 64<<10); ; {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("recvfrom", err)
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return nil, fmt.Errorf("sock_diag: %w", err)
		}
		for _, m := range messages {
			switch {
			case m.Header.Type == unix.NLMSG_DONE:
				return files, nil
			case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
				return nil, os.NewSyscallError("sock_diag", unix.Errno(-int32(order.Uint32(m.Data))))
			case m.Header.Type == sockDiagByFamily && len(m.Data) >= unixDiagMsgSize:
				if file, ok := boundFile(m.Data[unixDiagMsgSize:]); ok {
					files[uint64(order.Uint32(m.Data[4:]))] = file
				}
			}
		}
	}
}

// diagRequest asks for all listening Unix sockets, with their files.
func diagRequest() []byte {
	req := make([]byte, unix.SizeofNlMsghdr+unixDiagReqSize)
	order := binary.NativeEndian
	order.PutUint32(req[0:], uint32(len(req)))
	order.PutUint16(req[4:], sockDiagByFamily)
	order.PutUint16(req[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	req[16] = unix.AF_UNIX
	order.PutUint32(req[20:], 1<<stateListen)
	order.PutUint32(req[28:], unixDiagShowVFS)
	return req
}

// boundFile finds UNIX_DIAG_VFS among the attributes of an answer. An abstract
// socket has none.
func boundFile(attrs []byte) (inode uint32, ok bool) {
	order := binary.NativeEndian
	for len(attrs) >= unix.SizeofNlAttr {
		n := int(order.Uint16(attrs))
		if n < unix.SizeofNlAttr || n > len(attrs) {
			return 0, false
		}
		if order.Uint16(attrs[2:]) == unixDiagVFS && n >= unix.SizeofNlAttr+4 {
			return order.Uint32(attrs[unix.SizeofNlAttr:]), true
		}
		attrs = attrs[min((n+3)&^3, len(attrs)):]
	}
	return 0, false
}
