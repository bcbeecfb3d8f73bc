// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// What listens is read from /proc (proc_pid_net(5)), and who holds it from the
// links in /proc/PID/fd, since both name a socket by its inode:
//
//	/proc/net/tcp     sl local_address rem_address st ... inode
//	                   0: 0100007F:1B59 00000000:0000 0A ... 907856
//	/proc/net/unix    Num RefCount Protocol Flags Type St Inode Path
//	                  ...: 00000002 00000000 00010000 0001 01 907857 /run/x.sock
//	/proc/1/fd/25 ->  socket:[907856]
//
// The netlink interface sock_diag(7) returns the same. But it needs /proc too, to find
// out which process holds a socket, and not every kernel has it. It is used only for
// what /proc does not have: the file of a Unix socket (sock_diag.go).

const (
	tcpListen  = "0A"       // TCP_LISTEN of the kernel's tcp_states.h
	acceptFlag = 0x00010000 // __SO_ACCEPTCON of the kernel's net.h
)

// listeners maps each address to the inodes of the sockets that listen there.
// There can be several, on different network interfaces.
type listeners map[string][]uint64

// readListeners reads the tables below root. owned are the paths of Unix sockets at which the
// file is known to be that of the socket.
func readListeners(root string) (ls listeners, owned map[string]bool, err error) {
	ls, owned = listeners{}, map[string]bool{}
	var files map[uint64]uint32
	if root == "/" {
		files, _ = boundFiles() // without it, a file at the path is taken for the socket's
	}
	spelled := map[uint32][]string{} // the paths of the sockets that listen at a file
	for name, parse := range map[string]parser{"tcp": parseTCP, "tcp6": parseTCP, "unix": parseUnix} {
		err := readTable(filepath.Join(root, "proc/net", name), parse, func(at string, inode uint64) {
			if !reachable(root, at) {
				return
			}
			ls[at] = append(ls[at], inode)
			if file, ok := files[inode]; ok {
				spelled[file] = append(spelled[file], at)
			}
		})
		if err != nil {
			return nil, nil, err
		}
	}
	for at, inodes := range ls {
		ls[at] = slices.DeleteFunc(inodes, func(inode uint64) bool {
			bound, known := files[inode]
			if !known {
				return false
			}
			file, ok := fileAt(at)
			owned[at] = owned[at] || ok && file == bound
			return ok && replaced(spelled[file], at, file, bound)
		})
	}
	return ls, owned, nil
}

// A parser returns the address and the inode of a socket that listens, from a line of a
// table and its fields. For another line, such as the heading, the address is "".
type parser func(field []string, line string) (at string, inode uint64)

// readTable calls listens for each socket of a table that listens. A table that is
// missing, as tcp6 on a kernel without IPv6, is empty.
func readTable(path string, parse parser, listens func(at string, inode uint64)) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() // read only: nothing to lose
	s := bufio.NewScanner(f)
	for s.Scan() {
		if at, inode := parse(strings.Fields(s.Text()), s.Text()); at != "" {
			listens(at, inode)
		}
	}
	return s.Err()
}

// reachable reports whether clients can connect: if the file of a Unix socket was
// removed, the socket still listens, but no client can reach it.
func reachable(root, at string) bool {
	if at[0] != '/' {
		return true
	}
	fi, err := os.Lstat(filepath.Join(root, at))
	return err == nil && fi.Mode().Type() == fs.ModeSocket
}

// replaced reports whether the file at the path of a Unix socket belongs to another
// socket. Then clients reach that other socket, or none. A file that is listened at
// in another spelling of the path is no such file: two services may have it, as check
// warns, and a restart of one would only take it from the other.
func replaced(spelled []string, at string, file, bound uint32) bool {
	other := func(path string) bool { return path != at }
	return file != bound && !slices.ContainsFunc(spelled, other)
}

// fileAt returns the low 32 bits of the inode of the file of a Unix socket.
func fileAt(at string) (inode uint32, ok bool) {
	var st unix.Stat_t
	if at[0] != '/' || unix.Lstat(at, &st) != nil {
		return 0, false
	}
	return uint32(st.Ino), true
}

// parseTCP is the parser of tcp and tcp6.
func parseTCP(field []string, _ string) (string, uint64) {
	if len(field) < 10 || field[3] != tcpListen {
		return "", 0
	}
	host, port, _ := strings.Cut(field[1], ":")
	raw, err := hex.DecodeString(host)
	if err != nil || len(raw)%4 != 0 {
		return "", 0
	}
	for i := 0; i < len(raw); i += 4 {
		// Each 32 bits are printed as a number of the machine's byte order.
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	inode, inodeErr := strconv.ParseUint(field[9], 10, 64)
	if !ok || err != nil || inodeErr != nil {
		return "", 0
	}
	return netip.AddrPortFrom(addr, uint16(n)).String(), inode
}

// parseUnix is the parser of unix. It takes the path from the line itself, because
// that may hold blanks.
func parseUnix(field []string, line string) (string, uint64) {
	if len(field) < 8 {
		return "", 0
	}
	flags, err := strconv.ParseUint(field[3], 16, 32)
	inode, inodeErr := strconv.ParseUint(field[6], 10, 64)
	if err != nil || inodeErr != nil || flags&acceptFlag == 0 {
		return "", 0
	}
	_, path, _ := strings.Cut(line, " "+field[6]+" ")
	return path, inode
}

// at returns the inodes of the sockets at an address spelled as in
// ListenStream=, and false for an address that is not in the tables. They do
// not know the interface of a link-local address.
func (ls listeners) at(address string) ([]uint64, bool) {
	a, err := config.ParseAddress(address)
	switch {
	case err != nil:
		return nil, false
	case a.Network == "unix":
		return ls[a.Path], true
	}
	return ls[netip.AddrPortFrom(a.AddrPort.Addr().WithZone(""), a.AddrPort.Port()).String()], true
}

// overlapping returns the inodes of the sockets at all addresses that cannot be
// listened on together with this one.
func (ls listeners) overlapping(address string) (inodes []uint64) {
	a, err := config.ParseAddress(address)
	if err != nil {
		return nil
	}
	for other, n := range ls {
		if b, err := config.ParseAddress(other); err == nil && a.Overlaps(b) {
			inodes = append(inodes, n...)
		}
	}
	return inodes
}

// heldBy returns the inodes of the sockets that a process has open.
func heldBy(root string, pid int) (map[uint64]bool, error) {
	folder := filepath.Join(root, "proc", strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	held := map[uint64]bool{}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(folder, e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		inode, ok := strings.CutPrefix(to, "socket:[")
		n, err := strconv.ParseUint(strings.TrimSuffix(inode, "]"), 10, 64)
		if ok && err == nil {
			held[n] = true
		}
	}
	return held, nil
}
