// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"penstock/systemd/internal/datagram"
)

// Notifications go over one connected, non-blocking datagram socket that stays
// open. go-systemd's SdNotify opens, connects and closes a blocking one for
// each message: when PID 1 does not read, it would stop the event loop. Here
// the two kinds of message are told apart:
//
//	READY RELOADING STOPPING ERRNO EXTEND_TIMEOUT FDSTORE   wait, but not long
//	STATUS WATCHDOG                                         dropped: the next one is newer
//
// Each method sends one datagram. PID 1 throws away a datagram of more than
// 4096 bytes as a whole, READY=1 included, hence the cap on the status text.

const (
	// maxStatus keeps any datagram of ours far below PID 1's 4096 bytes, and
	// is more than `systemctl status` shows on a line.
	maxStatus = 512

	// patience is how long a message that must arrive waits for PID 1 to
	// read. It is the only place where the event loop can be held up, a few
	// times in the life of a process.
	patience = time.Second
)

// A Notifier tells the service manager how the process is doing. A nil
// *Notifier is valid and does nothing, so that code needs no test for "are we
// under systemd?".
//
// It belongs to one goroutine at a time. No method blocks for more than a
// second, except Barrier, which has a timeout. An error means that the service
// manager may not have got the message; the process can do little but log it.
//
// Source: sd_notify(3).
type Notifier struct {
	fd   int
	addr unix.SockaddrUnix
	buf  []byte // reused, so that the watchdog does not allocate
}

// NewNotifier connects to the socket that NOTIFY_SOCKET names, and unsets the
// variable, so that no child of ours speaks for the service.
//
// It returns nil, nil when the variable is unset: then nobody listens. A socket
// that is named but missing satisfies errors.Is(err, fs.ErrNotExist), one that
// is no Unix socket (vsock) errors.Is(err, errors.ErrUnsupported).
func NewNotifier() (*Notifier, error) {
	name := takeEnv("NOTIFY_SOCKET")["NOTIFY_SOCKET"]
	if name == "" {
		return nil, nil
	}
	// x/sys turns a leading '@' into the zero byte of an abstract name.
	if name[0] != '/' && name[0] != '@' {
		return nil, fmt.Errorf("systemd: notify socket %q: %w", name, errors.ErrUnsupported)
	}
	n := &Notifier{fd: -1, addr: unix.SockaddrUnix{Name: name}}
	if err := n.connect(); err != nil {
		return nil, fmt.Errorf("systemd: notify socket %q: %w", name, err)
	}
	return n, nil
}

func (n *Notifier) connect() error {
	fd, err := datagram.Dial(&n.addr)
	if err != nil {
		return err
	}
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
	n.fd = fd
	return nil
}

// Close closes the socket. The Notifier must not be used afterwards.
func (n *Notifier) Close() error {
	if n == nil || n.fd < 0 {
		return nil
	}
	err := unix.Close(n.fd)
	n.fd = -1
	return os.NewSyscallError("close", err)
}

// Ready says that the start, or a reload, is complete. Call it when every
// listener is armed and the handler of SIGHUP is installed: with
// Type=notify-reload, systemd may send that signal at once.
func (n *Notifier) Ready(status string) error {
	return n.state(sd.SdNotifyReady, status)
}

// Reloading says that a reload has begun; Ready ends it. Call it after the
// signal that asked for the reload arrived: systemd compares the time in the
// message, MONOTONIC_USEC, with the time of its signal, and without it waits
// until the job times out.
func (n *Notifier) Reloading() error {
	return n.must(sd.SdNotifyReloading + "\n" + sd.SdNotifyMonotonicUsec())
}

// Stopping says that the process is about to exit. There is no way back:
// from v259 on systemd ignores a later READY=1.
func (n *Notifier) Stopping(status string) error {
	return n.state(sd.SdNotifyStopping, status)
}

// Failed names the cause of an exit that is about to happen, for
// `systemctl status`.
func (n *Notifier) Failed(errno unix.Errno, status string) error {
	return n.state("ERRNO="+strconv.Itoa(int(errno)), status)
}

// ExtendTimeout asks for d more than the configured start, reload or stop
// timeout, counted from now. It has to be repeated before d is over.
func (n *Notifier) ExtendTimeout(d time.Duration) error {
	return n.must("EXTEND_TIMEOUT_USEC=" + strconv.FormatInt(d.Microseconds(), 10))
}

// Status replaces the line that `systemctl status` shows. The text is made
// one line of valid UTF-8 and cut at 512 bytes. A status that the service
// manager has no room for is dropped without an error.
func (n *Notifier) Status(s string) error {
	if n == nil {
		return nil
	}
	n.buf = appendStatus(n.buf[:0], s)
	return n.may()
}

// Watchdog says that the process is alive. Call it from where a hang would
// matter, every [WatchdogInterval]. A ping that the service manager has no
// room for is dropped without an error.
func (n *Notifier) Watchdog() error {
	if n == nil {
		return nil
	}
	n.buf = append(n.buf[:0], sd.SdNotifyWatchdog...)
	return n.may()
}

func (n *Notifier) state(assignments, status string) error {
	if n == nil {
		return nil
	}
	if status != "" {
		assignments += "\n" + string(appendStatus(nil, status))
	}
	return n.must(assignments)
}

// appendStatus makes an assignment that PID 1 accepts. PID 1 ignores a status
// that is not UTF-8, reads a newline as the next assignment, and drops the
// whole message for a zero byte.
func appendStatus(dst []byte, s string) []byte {
	dst = append(dst, "STATUS="...)
	start := len(dst)
	for _, r := range s { // invalid bytes come as U+FFFD
		if r == '\n' || r == '\r' || r == 0 {
			r = ' '
		}
		if len(dst)-start+utf8.RuneLen(r) > maxStatus {
			break
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// must sends s and waits up to patience for room.
func (n *Notifier) must(s string) error {
	if n == nil {
		return nil
	}
	return n.pass(s, nil, soon())
}

func soon() time.Time { return time.Now().Add(patience) }

// pass sends s, and descriptors with it if there are any, and waits for room until the
// deadline. If there was none, isFull tells so of the error.
func (n *Notifier) pass(s string, rights []byte, deadline time.Time) error {
	n.buf = append(n.buf[:0], s...)
	for {
		err := n.send(rights)
		if !isFull(err) {
			return err
		}
		if ok, perr := datagram.Await(n.fd, unix.POLLOUT, deadline); perr != nil || !ok {
			return err
		}
	}
}

// may sends n.buf, or drops it when there is no room.
func (n *Notifier) may() error {
	if err := n.send(nil); !isFull(err) {
		return err
	}
	return nil
}

// send makes one attempt with n.buf, and connects anew if the socket was
// replaced, as container managers do when they restart.
func (n *Notifier) send(rights []byte) error {
	err := datagram.Send(n.fd, n.buf, rights)
	if datagram.PeerGone(err) && n.connect() == nil {
		err = datagram.Send(n.fd, n.buf, rights)
	}
	if err != nil {
		key, _, _ := strings.Cut(string(n.buf), "=")
		return fmt.Errorf("systemd: notify %s: %w", key, os.NewSyscallError("sendmsg", err))
	}
	return nil
}

// isFull tells "no room now" from other failures.
func isFull(err error) bool { return errors.Is(err, unix.EAGAIN) }
