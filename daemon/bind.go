// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// A process that was started by hand opens its sockets itself, the way
// systemd.socket(5) would from the same keys, so that moving a file between
// the two changes nothing. Raw system calls instead of package net: that
// would put each listener into the runtime's own epoll set as well, and every
// client would wake two loops.

// errInUse says that another process serves a Unix socket of that name.
var errInUse = errors.New("another process is serving it")

// bind opens, configures and listens on addr. The caller owns the descriptor,
// and for a Unix socket with a path the file as well (see unlinkSocket).
func bind(addr config.Address, s *config.Service) (fd int, err error) {
	sa, family, err := sockaddr(addr)
	if err != nil {
		return -1, err
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) && addr.AddrPort.Addr() == netip.IPv6Unspecified() {
		// A kernel without IPv6: all addresses are then all of IPv4, as with
		// ListenStream=PORT.
		v4 := netip.AddrPortFrom(netip.IPv4Unspecified(), addr.AddrPort.Port())
		return bind(config.Address{Text: v4.String(), Network: "tcp", AddrPort: v4}, s)
	}
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd)
			fd = -1
		}
	}()
	if addr.Network == "unix" {
		err = bindUnix(fd, sa, addr.Path, s)
	} else {
		err = bindTCP(fd, sa, s)
	}
	if err != nil {
		return fd, err
	}
	return fd, os.NewSyscallError("listen", unix.Listen(fd, s.Backlog))
}

func sockaddr(addr config.Address) (sa unix.Sockaddr, family int, err error) {
	if addr.Network == "unix" {
		return &unix.SockaddrUnix{Name: addr.Path}, unix.AF_UNIX, nil
	}
	ip, port := addr.AddrPort.Addr(), int(addr.AddrPort.Port())
	if ip.Is4() {
		return &unix.SockaddrInet4{Addr: ip.As4(), Port: port}, unix.AF_INET, nil
	}
	zone, err := zoneIndex(ip.Zone())
	return &unix.SockaddrInet6{Addr: ip.As16(), Port: port, ZoneId: zone}, unix.AF_INET6, err
}

// zoneIndex finds the interface's number by SIOCGIFINDEX (netdevice(7)).
func zoneIndex(name string) (uint32, error) {
	if name == "" {
		return 0, nil
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, os.NewSyscallError("ioctl SIOCGIFINDEX", err))
	}
	return req.Uint32(), nil
}

func bindTCP(fd int, sa unix.Sockaddr, s *config.Service) error {
	// Without SO_REUSEADDR a restart would have to wait until the old
	// connections have left TIME-WAIT (socket(7)).
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt SO_REUSEADDR", err)
	}
	// An address means the same on every machine, whatever net.ipv6.bindv6only
	// says: [::] is IPv4 as well (ipv6(7)).
	if _, ok := sa.(*unix.SockaddrInet6); ok {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return os.NewSyscallError("setsockopt IPV6_V6ONLY", err)
		}
	}
	// The machine may not have the address yet, for example at boot. The
	// generated unit says FreeBind=yes for the same. The option works for IPv6
	// too.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_FREEBIND, 1); err != nil {
		return os.NewSyscallError("setsockopt IP_FREEBIND", err)
	}
	if s.BindDevice != "" {
		if err := unix.BindToDevice(fd, s.BindDevice); err != nil {
			return fmt.Errorf("bind_device %s: %w", s.BindDevice, os.NewSyscallError("setsockopt SO_BINDTODEVICE", err))
		}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

// bindUnix gives the file its mode before it appears: bind(2) makes it with
// the mode of the socket's own inode, less the umask, so there is no moment at
// which more may connect than socket_mode says. What the umask took away is
// added afterwards.
func bindUnix(fd int, sa unix.Sockaddr, path string, s *config.Service) error {
	if path[0] == '@' { // abstract: no file, hence neither mode nor owner
		return os.NewSyscallError("bind", unix.Bind(fd, sa))
	}
	uid, gid, err := owner(s)
	if err != nil {
		return err
	}
	if err := makeFolders(filepath.Dir(path)); err != nil {
		return err
	}
	if err := removeStale(path); err != nil {
		return err
	}
	mode := uint32(s.SocketMode.Perm())
	if err := unix.Fchmod(fd, mode); err != nil {
		return os.NewSyscallError("fchmod", err)
	}
	if err := unix.Bind(fd, sa); err != nil {
		return os.NewSyscallError("bind", err)
	}
	if err := setOwner(path, mode, uid, gid); err != nil {
		_ = unix.Unlink(path)
		return err
	}
	return nil
}

// makeFolders makes the folders of path that are missing. Their mode is 0755
// whatever the umask, the default of DirectoryMode= in systemd.socket(5): a
// socket in a folder that nobody may enter is open to nobody.
func makeFolders(path string) error {
	err := os.Mkdir(path, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeFolders(filepath.Dir(path)); err != nil {
			return err
		}
		err = os.Mkdir(path, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // if it is a file, bind reports it
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}

func setOwner(path string, mode uint32, uid, gid int) error {
	if uid >= 0 || gid >= 0 {
		if err := unix.Lchown(path, uid, gid); err != nil {
			return os.NewSyscallError("lchown", err)
		}
	}
	return os.NewSyscallError("chmod", unix.Chmod(path, mode))
}

// owner looks socket_user and socket_group up; -1 leaves that one alone.
func owner(s *config.Service) (uid, gid int, err error) {
	uid, gid = -1, -1
	if s.SocketUser != "" {
		if uid, err = strconv.Atoi(s.SocketUser); err != nil {
			u, err := user.Lookup(s.SocketUser)
			if err != nil {
				return -1, -1, fmt.Errorf("socket_user: %w", err)
			}
			uid, _ = strconv.Atoi(u.Uid)
		}
	}
	if s.SocketGroup != "" {
		if gid, err = strconv.Atoi(s.SocketGroup); err != nil {
			g, err := user.LookupGroup(s.SocketGroup)
			if err != nil {
				return -1, -1, fmt.Errorf("socket_group: %w", err)
			}
			gid, _ = strconv.Atoi(g.Gid)
		}
	}
	return uid, gid, nil
}

// removeStale clears away the socket of a process that is gone, and nothing
// else: connect(2) tells a served one from a left-over one, and a file that
// is no socket is somebody's data.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s: exists and is not a socket", path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	switch err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); {
	case err == nil, errors.Is(err, unix.EAGAIN): // EAGAIN: its backlog is full
		return errInUse
	case !errors.Is(err, unix.ECONNREFUSED):
		return os.NewSyscallError("connect", err)
	}
	return os.NewSyscallError("unlink", unix.Unlink(path))
}

// A socketFile is a path this process has bound, with the inode it got, so
// that what somebody else has put in its place meanwhile is not removed.
type socketFile struct {
	path     string
	dev, ino uint64
}

func newSocketFile(path string) (socketFile, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return socketFile{}, os.NewSyscallError("lstat", err)
	}
	return socketFile{path, uint64(st.Dev), st.Ino}, nil
}

// present reports whether the file is still the one that was bound. No other file
// gets its inode as long as the socket is open.
func (f socketFile) present() bool {
	var st unix.Stat_t
	return unix.Lstat(f.path, &st) == nil && uint64(st.Dev) == f.dev && st.Ino == f.ino
}

// remove unlinks the file if it is still the one that was bound.
func (f socketFile) remove() {
	if f.present() {
		_ = unix.Unlink(f.path)
	}
}
