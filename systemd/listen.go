// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Inherited sockets are raw descriptor numbers with a name. go-systemd's
// activation package was not taken: it wraps each descriptor in an *os.File,
// whose finalizer closes the listener once only the number is kept, and which
// joins a non-blocking descriptor to the Go runtime's own epoll set, so that
// every connection wakes two pollers. It also invents names when
// LISTEN_FDNAMES is wrong, and does not know LISTEN_PIDFDID.
//
// What the process gets is not trusted to be what its unit files say: order is
// undefined (252 and 257 pass the same units differently), and a unit may hold
// FIFOs or datagram sockets. The kernel is asked about each descriptor. What the
// service manager keeps for a service (fdstore.go) comes in the same list.

// firstFD is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstFD = 3

// mostFDs is far more than a service manager passes, and bounds the time of
// looking at numbers where there is nothing.
const mostFDs = 4096

// UnknownName is what sd_listen_fds_with_names(3) calls every descriptor when
// LISTEN_FDNAMES is not set.
const UnknownName = "unknown"

var (
	// ErrNotForUs says that LISTEN_FDS is set, but for another process. That
	// happens when a shell, strace(1) or another wrapper stands between the
	// service manager and this program. A process that opens its own sockets
	// then would fail with EADDRINUSE or, worse, would succeed beside the real
	// ones.
	ErrNotForUs = errors.New("the inherited sockets are meant for another process")

	// ErrNameCount says that LISTEN_FDNAMES does not hold one name for each
	// descriptor. No name can be trusted then.
	ErrNameCount = errors.New("LISTEN_FDNAMES does not name each descriptor once")
)

// A Socket is an inherited listener: bound, listening, non-blocking and
// close-on-exec. The holder may close it, but must never shutdown(2) it or
// unlink its path: both would affect the service manager's copy and every later
// process of the unit. For the same reason socket options belong in the socket
// unit.
type Socket struct {
	FD     int
	Name   string // FileDescriptorName=; several sockets may share one
	Family int    // unix.AF_INET, unix.AF_INET6 or unix.AF_UNIX
	Type   int    // unix.SOCK_STREAM or unix.SOCK_SEQPACKET

	// Addr is where it is bound, spelled like ListenStream= in
	// systemd.socket(5): "127.0.0.1:1060", "[::1]:1060",
	// "[fe80::1]:1060%eth0", "/run/x.sock", "@abstract"; "" if unnamed.
	Addr string
}

// A Stored descriptor comes from the service manager's store, see [Notifier.Store]. It
// has been made close-on-exec and non-blocking; NonBlocking=yes of the unit does not
// concern it. What it is has not been checked, except that it is no listener.
type Stored struct {
	FD   int
	Name string // from Store; not always used once
}

// A Rejected descriptor was listed, but is no stream or seqpacket listener. It
// has been closed, unless it was not passed at all. If it came from the service
// manager's store, it is still in there, until [Notifier.Forget].
type Rejected struct {
	FD     int // the number it had
	Name   string
	Reason string // for a log line: "datagram socket", "FIFO", ...
}

// Inherited is what the service manager passed to this process.
type Inherited struct {
	// Activated tells that the variables were present and meant for this
	// process, whatever they listed. The service manager opens the sockets
	// then.
	Activated bool
	Sockets   []Socket
	Stored    []Stored
	Rejected  []Rejected
}

// Inherit takes over the sockets that systemd, or another program that speaks
// its protocol, passed to this process. It must be called once, as the first
// thing in main: it reads and unsets LISTEN_PID, LISTEN_PIDFDID, LISTEN_FDS and
// LISTEN_FDNAMES, which no child may see, and works on descriptors by their
// number. The caller owns the sockets and the stored descriptors of the result.
//
// The arguments are how the names begin under which the program stores descriptors. The
// name alone does not decide, since a unit without FileDescriptorName= names its
// listeners after itself, x.socket for example. A listener goes to Sockets in any case.
// Without arguments nothing is stored, and what is no listener is rejected.
//
// Without LISTEN_FDS the result is empty and the error nil. With an error,
// which may match [ErrNotForUs] or [ErrNameCount], every descriptor has been
// left as it was.
//
// Source: sd_listen_fds(3), and systemd.exec(5) for LISTEN_PIDFDID (v259).
func Inherit(stored ...string) (Inherited, error) {
	env := takeEnv("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")
	in, err := inherit(env, os.Getpid(), firstFD, stored...)
	if err != nil {
		return Inherited{}, fmt.Errorf("systemd: inherit sockets: %w", err)
	}
	return in, nil
}

// takeEnv reads variables and removes them from the environment. A variable
// that is not set is not in the result.
func takeEnv(keys ...string) map[string]string {
	env := make(map[string]string, len(keys))
	for _, k := range keys {
		if v, ok := os.LookupEnv(k); ok {
			env[k] = v
			os.Unsetenv(k)
		}
	}
	return env
}

// inherit is Inherit with everything it depends on as arguments, so that tests
// can run it on descriptors of their own in one process.
func inherit(env map[string]string, pid, first int, stored ...string) (Inherited, error) {
	if env["LISTEN_FDS"] == "" {
		return Inherited{}, nil
	}
	if err := checkPID(env, pid); err != nil {
		return Inherited{}, err
	}
	n, err := strconv.Atoi(env["LISTEN_FDS"])
	if err != nil || n < 0 || n > mostFDs {
		return Inherited{}, fmt.Errorf("LISTEN_FDS is %q, not a number of descriptors", env["LISTEN_FDS"])
	}
	names, err := splitNames(env, n)
	if err != nil {
		return Inherited{}, err
	}
	in := Inherited{Activated: true}
	for i := range n {
		in.adopt(first+i, names(i), stored)
	}
	return in, nil
}

// checkPID tells whether the variables are for this process.
func checkPID(env map[string]string, pid int) error {
	text, ok := env["LISTEN_PID"]
	if !ok {
		return fmt.Errorf("LISTEN_FDS is set, but LISTEN_PID is not: %w", ErrNotForUs)
	}
	if n, err := strconv.Atoi(text); err != nil || n != pid {
		return fmt.Errorf("LISTEN_PID is %q, this process is %d: %w", text, pid, ErrNotForUs)
	}
	text = env["LISTEN_PIDFDID"]
	if text == "" {
		return nil
	}
	// A process number is used again after a while, an inode number of pidfs
	// is not. Kernels before 6.9 have no such number; there the PID decides.
	id, ok := pidfdID(pid)
	if !ok {
		return nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err != nil || n != id {
		return fmt.Errorf("LISTEN_PIDFDID is %q, this process has %d: %w", text, id, ErrNotForUs)
	}
	return nil
}

// splitNames returns the name of the i-th descriptor of n.
func splitNames(env map[string]string, n int) (func(i int) string, error) {
	list, ok := env["LISTEN_FDNAMES"]
	if !ok {
		return func(int) string { return UnknownName }, nil
	}
	names := strings.Split(list, ":")
	if n == 0 && list == "" {
		names = nil
	}
	if len(names) != n {
		return nil, fmt.Errorf("%d names for %d descriptors: %w", len(names), n, ErrNameCount)
	}
	return func(i int) string { return names[i] }, nil
}

// adopt takes fd over. If it cannot, it rejects fd, and closes it if it was passed.
func (in *Inherited) adopt(fd int, name string, stored []string) {
	if reason := passed(fd); reason != "" {
		in.Rejected = append(in.Rejected, Rejected{FD: fd, Name: name, Reason: reason})
		return
	}
	sock, reason := classify(fd, name)
	ours := reason != "" && slices.ContainsFunc(stored, func(s string) bool { return strings.HasPrefix(name, s) })
	if reason == "" || ours {
		reason = prepare(fd)
	}
	switch {
	case reason != "":
		unix.Close(fd)
		in.Rejected = append(in.Rejected, Rejected{FD: fd, Name: name, Reason: reason})
	case ours:
		in.Stored = append(in.Stored, Stored{FD: fd, Name: name})
	default:
		in.Sockets = append(in.Sockets, sock)
	}
}

// passed returns why fd was not passed, or "". A descriptor with close-on-exec was not,
// because exec would have closed it: it is one that the Go runtime opened before main,
// and LISTEN_FDS is too large.
func passed(fd int) (reason string) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	switch {
	case err != nil:
		return "not open"
	case flags&unix.FD_CLOEXEC != 0:
		return "not passed: LISTEN_FDS is too large"
	}
	return ""
}

// prepare makes fd close-on-exec and non-blocking, or returns why it cannot.
// NonBlocking=yes of the unit makes listeners non-blocking as well, but another unit
// that shares the socket, or the lack of that line, undoes it.
func prepare(fd int) (reason string) {
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return "cannot be made non-blocking: " + err.Error()
	}
	return ""
}

// classify asks the kernel what fd is. It changes nothing.
func classify(fd int, name string) (Socket, string) {
	var opt [3]int
	for i, o := range []int{unix.SO_DOMAIN, unix.SO_TYPE, unix.SO_ACCEPTCONN} {
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, o)
		if errors.Is(err, unix.ENOTSOCK) {
			return Socket{}, fileKind(fd)
		}
		if err != nil {
			return Socket{}, "unknown kind of socket: " + err.Error()
		}
		opt[i] = v
	}
	family, typ, listening := opt[0], opt[1], opt[2] != 0
	switch {
	case family != unix.AF_INET && family != unix.AF_INET6 && family != unix.AF_UNIX:
		return Socket{}, "socket of address family " + strconv.Itoa(family)
	case typ == unix.SOCK_DGRAM:
		return Socket{}, "datagram socket"
	case typ != unix.SOCK_STREAM && typ != unix.SOCK_SEQPACKET:
		return Socket{}, "socket of type " + strconv.Itoa(typ)
	case !listening:
		if _, err := unix.Getpeername(fd); err == nil {
			return Socket{}, "connection: the socket unit must say Accept=no"
		}
		return Socket{}, "socket that does not listen"
	}
	addr, err := Address(fd)
	if err != nil {
		return Socket{}, "no address: " + err.Error()
	}
	return Socket{FD: fd, Name: name, Family: family, Type: typ, Addr: addr}, ""
}

// fileKind names what is not a socket.
func fileKind(fd int) string {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "unknown: " + err.Error()
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return "FIFO"
	case unix.S_IFREG: // ListenSpecial=, OpenFile=, a memfd
		return "regular file"
	case unix.S_IFCHR:
		return "character device"
	}
	return "no socket"
}

// Address returns where the socket fd is bound, spelled as in Socket.Addr. The errors are
// those of getsockname(2).
func Address(fd int) (string, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	return addrText(fd, sa), nil
}

// addrText spells a bound address as ListenStream= does.
func addrText(fd int, sa unix.Sockaddr) string {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)).String()
	case *unix.SockaddrInet6:
		// systemd writes the interface after the port.
		s := netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)).String()
		if sa.ZoneId != 0 {
			s += "%" + interfaceName(fd, sa.ZoneId)
		}
		return s
	case *unix.SockaddrUnix:
		return sa.Name // abstract names come with '@' already
	}
	return ""
}

// interfaceName asks through fd, because the socket may belong to another
// network namespace than the process (PrivateNetwork=yes).
func interfaceName(fd int, index uint32) string {
	ifr, err := unix.NewIfreq("")
	if err == nil {
		ifr.SetUint32(index)
		if err = unix.IoctlIfreq(fd, unix.SIOCGIFNAME, ifr); err == nil {
			return ifr.Name()
		}
	}
	return strconv.FormatUint(uint64(index), 10) // systemd.socket(5) allows the index too
}
