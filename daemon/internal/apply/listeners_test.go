// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// TestListenersOfTheKernel compares the tables with sockets of our own: the
// byte order of addresses, names with blanks, what is bound and does not
// listen.
func TestListenersOfTheKernel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a name.sock")
	abstract := "@penstock test " + path
	if len(abstract) > 107 {
		abstract = abstract[:107]
	}
	tests := []struct {
		name    string
		address unix.Sockaddr
		listens bool // and can be connected to
		removed bool // the file
	}{
		{"IPv4", &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, true, false},
		{"IPv4 bound only", &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}}, false, false},
		{"IPv6", &unix.SockaddrInet6{Addr: [16]byte{15: 1}}, true, false},
		{"all addresses", &unix.SockaddrInet6{}, true, false},
		{"path", &unix.SockaddrUnix{Name: path}, true, false},
		{"abstract", &unix.SockaddrUnix{Name: abstract}, true, false},
		{"path without its file", &unix.SockaddrUnix{Name: path + "3"}, false, true},
		{"path bound only", &unix.SockaddrUnix{Name: path + "2"}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fd, inode := open(t, tt.address)
			if tt.listens || tt.removed {
				if err := unix.Listen(fd, 1); err != nil {
					t.Fatal(err)
				}
			}
			if tt.removed {
				_ = os.Remove(path + "3")
			}
			ls, _, err := readListeners("/")
			if err != nil {
				t.Fatal(err)
			}
			at, ok := ls.at(spelled(t, fd))
			if !ok || slices.Contains(at, inode) != tt.listens {
				t.Errorf("listeners at %s are %v, %v, ours is %d", spelled(t, fd), at, ok, inode)
			}
			held, err := heldBy("/", os.Getpid())
			if err != nil || !held[inode] {
				t.Errorf("heldBy(us) does not have %d: %v, %v", inode, held, err)
			}
		})
	}
}

// TestListenersReplaced: clients of a path come to the socket whose file is there,
// whatever else listens under that name.
func TestListenersReplaced(t *testing.T) {
	if _, err := boundFiles(); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	listen := func() (ln *net.UnixListener, inode uint64) {
		t.Helper()
		ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		check(err)
		t.Cleanup(func() { _ = ln.Close() })
		ln.SetUnlinkOnClose(false)
		f, err := ln.File()
		check(err)
		defer f.Close()
		var st unix.Stat_t
		check(unix.Fstat(int(f.Fd()), &st))
		return ln, st.Ino
	}
	want := func(owned bool, inodes ...uint64) {
		t.Helper()
		ls, owners, err := readListeners("/")
		if err != nil || !slices.Equal(ls[path], inodes) || owners[path] != owned {
			t.Errorf("listeners are %v, %v, with the file %v, want %v, %v", ls[path], err, owners[path], inodes, owned)
		}
	}
	_, ours := listen()
	want(true, ours)
	check(os.Rename(path, path+".old"))
	successor, theirs := listen()
	want(true, theirs)
	check(successor.Close()) // as of a program that has ended, and left its file
	want(false)
	check(os.Rename(path+".old", path))
	want(true, ours)

	// Another service has the same file, in another spelling: both are as they were
	// asked for, and none is to be restarted.
	link, folder := filepath.Join(t.TempDir(), "link"), filepath.Dir(path)
	check(os.Symlink(folder, link))
	check(os.Remove(path))
	path = filepath.Join(link, "s")
	_, newer := listen()
	want(true, newer)
	path = filepath.Join(folder, "s")
	want(false, ours)
}

func open(t *testing.T, address unix.Sockaddr) (fd int, inode uint64) {
	t.Helper()
	family := unix.AF_UNIX
	switch address.(type) {
	case *unix.SockaddrInet4:
		family = unix.AF_INET
	case *unix.SockaddrInet6:
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, address); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return fd, st.Ino
}

// spelled is the bound address as ListenStream= has it.
func spelled(t *testing.T, fd int) string {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	var a config.Address
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return addrPort(sa.Addr[:], sa.Port)
	case *unix.SockaddrInet6:
		return addrPort(sa.Addr[:], sa.Port)
	case *unix.SockaddrUnix:
		a, err = config.ParseAddress(sa.Name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return a.Text
}

func addrPort(addr []byte, port int) string {
	ip, _ := netip.AddrFromSlice(addr)
	return netip.AddrPortFrom(ip, uint16(port)).String()
}

func TestAddressesThatAreNotInTheTables(t *testing.T) {
	ls := listeners{"[fe80::1]:7000": {1}}
	if at, ok := ls.at("[fe80::1]:7000%eth0"); !ok || len(at) != 1 {
		t.Errorf("at an address with interface = %v, %v", at, ok)
	}
	// Only a drop-in of the administrator can have these.
	for _, address := range []string{"vsock:2:1", "host:7000", ""} {
		if _, ok := ls.at(address); ok {
			t.Errorf("%q is said to be in the tables", address)
		}
	}
}

// TestForeignLines: what cannot be read as a socket is no listener, and no
// reason to fail.
func TestForeignLines(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "proc/net"), 0o755); err != nil {
		t.Fatal(err)
	}
	lines := "heading\n\n 0: XYZ:1B58 0:0 0A 0 0 0 0 0 1 1\n 1: 0100007F:ZZZZ 0:0 0A 0 0 0 0 0 1 1\n 2: 0100007F:1B58 0:0 0A 0 0 0 0 0 x 1\n 3: 01:1B58 0:0 0A 0 0 0 0 0 1\n"
	for _, name := range []string{"tcp", "unix"} {
		if err := os.WriteFile(filepath.Join(root, "proc/net", name), []byte(lines), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if ls, _, err := readListeners(root); err != nil || len(ls) != 0 {
		t.Errorf("readListeners() = %v, %v", ls, err)
	}
}
