// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

// testStored is how the names begin under which these tests store.
const testStored = "test."

// TestInheritStored: what the program has stored comes in the same list as the
// sockets. Both its name and its kind decide.
func TestInheritStored(t *testing.T) {
	tests := []struct {
		name, fdname string
		open         func(*testing.T) int
		want         string // where it is in Inherited
	}{
		{"the end of a pair", "test.queue", connection, "stored"},
		{"a memfd", "test.records", memfd, "stored"},
		{"a pipe", "test.queue", pipeEnd, "stored"},
		{"a listener, named after its unit", "test.socket", bound(unix.AF_INET, unix.SOCK_STREAM, &unix.SockaddrInet4{Addr: loopback}, true), "socket"},
		{"somebody else's", "stored", connection, "rejected"},
		{"the beginning alone within a name", "my.test.queue", connection, "rejected"},
		{"not passed", "test.gone", hole, "rejected"},
	}
	opens := make([]func(*testing.T) int, len(tests))
	names := make([]string, len(tests))
	for i, tt := range tests {
		opens[i], names[i] = tt.open, tt.fdname
	}
	first := block(t, opens...)
	env := environ(7, "LISTEN_FDS", strconv.Itoa(len(tests)), "LISTEN_FDNAMES", strings.Join(names, ":"))
	in, err := inherit(env, 7, first, testStored, "other.")
	if err != nil {
		t.Fatal(err)
	}
	got := map[int]string{}
	for _, s := range in.Sockets {
		got[s.FD] += "socket"
	}
	for _, s := range in.Stored {
		got[s.FD] += "stored"
		if want := names[s.FD-first]; s.Name != want {
			t.Errorf("fd %d is named %q, want %q", s.FD, s.Name, want)
		}
	}
	for _, r := range in.Rejected {
		got[r.FD] += "rejected"
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got[first+i] != tt.want {
				t.Errorf("got %q, want %q", got[first+i], tt.want)
			}
			if tt.want == "rejected" {
				if isOpen(first + i) {
					t.Error("it is still open")
				}
				return
			}
			checkFlags(t, first+i) // they were blocking
		})
	}
}

// stores is the process before a restart: it stores the reader's end of a queue with a
// message in it, and ends.
func stores() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	fail(err)
	n, err := NewNotifier()
	fail(err)
	fail(n.Store(testStored+"queue", p[0]))
	fail(n.Barrier(patient))
	_, err = unix.Write(p[1], []byte("left over"))
	fail(err)
}

// TestStoreProcess goes through a restart of real processes: what the first has stored
// outlives it, and the second gets it beside its socket.
func TestStoreProcess(t *testing.T) {
	_, m := manager(t, 2) // NOTIFY_SOCKET is taken out of the environment
	old := exec.CommandContext(t.Context(), "/proc/self/exe")
	old.Env = append(sdtest.Environ(), "SYSTEMD_TEST_ROLE=stores", "NOTIFY_SOCKET="+m.Path)
	out, err := old.CombinedOutput()
	sdtest.SkipEmulated(t, err)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files, names, err := m.Pass()
	if err != nil || len(files) != 1 {
		t.Fatalf("the store passes %q, %v", names, err)
	}
	defer files[0].Close()
	socket := os.NewFile(uintptr(bound(unix.AF_UNIX, unix.SOCK_STREAM, &unix.SockaddrUnix{Name: "@" + filepath.Base(m.Path) + strconv.Itoa(os.Getpid())}, true)(t)), "socket")
	defer socket.Close()

	next := exec.CommandContext(t.Context(), "/proc/self/exe")
	next.Env = append(sdtest.Environ(), "SYSTEMD_TEST_ROLE=shim", "SYSTEMD_TEST_NAMES=chat:"+names[0])
	next.ExtraFiles = []*os.File{socket, files[0]}
	next.Stderr = os.Stderr
	if out, err = next.Output(); err != nil {
		t.Fatal(err)
	}
	var got struct {
		In  Inherited
		Err string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	want := []Stored{{FD: 4, Name: "test.queue"}}
	if diff := cmp.Diff(want, got.In.Stored); diff != "" || len(got.In.Sockets) != 1 || got.Err != "<nil>" {
		t.Errorf("%+v, error %s, (-want +got)\n%s", got.In, got.Err, diff)
	}
	// What was queued is in it still: the second process has only looked at its flags.
	b := make([]byte, 16)
	if n, err := unix.Read(int(files[0].Fd()), b); string(b[:max(n, 0)]) != "left over" {
		t.Errorf("the queue has %q, %v", b[:max(n, 0)], err)
	}
}
