// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// bind opens, configures and listens on addr. The caller owns the descriptor,
// and for a Unix socket with a path the file as well (see socketFile).
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
	if err = unix.Listen(fd, s.Backlog); err != nil && addr.Network == "unix" && addr.Path[0] != '@' {
		_ = unix.Unlink(addr.Path) // nobody will listen at the file
	}
	return fd, os.NewSyscallError("listen", err)
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
