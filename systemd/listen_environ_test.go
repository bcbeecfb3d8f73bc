// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

func TestInheritVariables(t *testing.T) {
	self := os.Getpid()
	id, hasID := pidfdID(self)
	tests := []struct {
		name      string
		env       map[string]string
		activated bool
		err       error
	}{
		{"not activated", map[string]string{}, false, nil},
		{"another's number without sockets", environ(self + 1), false, nil},
		{"no sockets", environ(self, "LISTEN_FDS", "0"), true, nil},
		{"no sockets, no names", environ(self, "LISTEN_FDS", "0", "LISTEN_FDNAMES", ""), true, nil},
		{"a wrapper stands between", environ(self+1, "LISTEN_FDS", "1"), false, ErrNotForUs},
		{"no LISTEN_PID", map[string]string{"LISTEN_FDS": "1"}, false, ErrNotForUs},
		{"LISTEN_PID is no number", map[string]string{"LISTEN_FDS": "1", "LISTEN_PID": "x"}, false, ErrNotForUs},
		{"fewer names", environ(self, "LISTEN_FDS", "2", "LISTEN_FDNAMES", "a"), false, ErrNameCount},
		{"more names", environ(self, "LISTEN_FDS", "1", "LISTEN_FDNAMES", "a:b"), false, ErrNameCount},
		{"count is no number", environ(self, "LISTEN_FDS", "x"), false, errAny},
		{"negative count", environ(self, "LISTEN_FDS", "-1"), false, errAny},
		{"count beyond descriptors", environ(self, "LISTEN_FDS", "2147483647"), false, errAny},
		{"own LISTEN_PIDFDID", environ(self, "LISTEN_FDS", "0", "LISTEN_PIDFDID", strconv.FormatUint(id, 10)), true, nil},
	}
	if hasID { // a kernel before 6.9 cannot tell, and the number decides there
		tests = append(tests, tests[0])
		last := &tests[len(tests)-1]
		last.name = "the number was used again"
		last.env = environ(self, "LISTEN_FDS", "0", "LISTEN_PIDFDID", strconv.FormatUint(id+1, 10))
		last.err = ErrNotForUs
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// A descriptor that must survive every error.
			first := block(t, bound(unix.AF_INET, unix.SOCK_DGRAM, nil, false))
			in, err := inherit(tt.env, self, first)
			switch {
			case tt.err == errAny && err == nil, tt.err != errAny && !errors.Is(err, tt.err), tt.err == nil && err != nil:
				t.Errorf("inherit() = %v, want %v", err, tt.err)
			}
			if in.Activated != tt.activated {
				t.Errorf("Activated = %v, want %v", in.Activated, tt.activated)
			}
			if _, err := unix.FcntlInt(uintptr(first), unix.F_GETFD, 0); err != nil {
				t.Errorf("the descriptor was touched: %v", err)
			}
		})
	}
}

// errAny stands for errors without a sentinel.
var errAny = errors.New("any error")

// TestPidfdIDTellsProcessesApart is what LISTEN_PIDFDID rests on.
func TestPidfdIDTellsProcessesApart(t *testing.T) {
	self, ok := pidfdID(os.Getpid())
	if !ok {
		t.Skip("this kernel has no pidfs (before 6.9)")
	}
	again, _ := pidfdID(os.Getpid())
	parent, _ := pidfdID(os.Getppid())
	if self != again || self == parent {
		t.Errorf("ids: self %d, again %d, parent %d", self, again, parent)
	}
}

// TestInheritProcess goes through a real exec, where numbers start at 3 and
// the Go runtime has its own descriptors behind them.
func TestInheritProcess(t *testing.T) {
	tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	path := filepath.Join(sdtest.ShortDir(t), "chat.sock")
	chat, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer chat.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	tcpFile, err1 := tcp.File()
	chatFile, err2 := chat.File()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	defer tcpFile.Close()
	defer chatFile.Close()

	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(sdtest.Environ(), "SYSTEMD_TEST_ROLE=shim", "SYSTEMD_TEST_NAMES=tcp:chat:pipe")
	cmd.ExtraFiles = []*os.File{tcpFile, chatFile, r}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	sdtest.SkipEmulated(t, err)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		In             Inherited
		Err            string
		Again, Env     bool
		Closed, Polled bool
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	want := Inherited{
		Activated: true,
		Sockets: []Socket{
			{FD: 3, Name: "tcp", Family: unix.AF_INET, Type: unix.SOCK_STREAM, Addr: tcp.Addr().String()},
			{FD: 4, Name: "chat", Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, Addr: path},
		},
		Rejected: []Rejected{{FD: 5, Name: "pipe", Reason: "FIFO"}},
	}
	if diff := cmp.Diff(want, got.In); diff != "" || got.Err != "<nil>" {
		t.Errorf("error %s, (-want +got)\n%s", got.Err, diff)
	}
	if got.Again {
		t.Error("a second Inherit found the sockets again")
	}
	if got.Env {
		t.Error("a child would see LISTEN_ variables")
	}
	if got.Closed {
		t.Error("the garbage collector has closed a socket")
	}
	if got.Polled {
		t.Error("the Go runtime waits for a socket too")
	}
}
