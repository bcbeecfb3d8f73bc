// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/handover"
)

// testdata/records/version1 was written by the daemon when 1 was the version of its
// records: an echo client that has had one byte, half a question to a lookup, and the two
// members of a room that have said "hi" and "ho". It is not made anew. A version that is
// not read any more, or a change of what is written without another version, fails here.

// formerQueue fills a queue with records of a former version, for new sockets in place of
// those of then, and returns the clients' ends.
func formerQueue(t *testing.T, name string, edit func(r *handover.Records)) (queue int, clients []talker) {
	t.Helper()
	b, err := os.ReadFile("testdata/records/" + name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := handover.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(r)
	}
	var ours []int
	for i := range r.Conns {
		path := t.TempDir() + "/s"
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
		}
		if err == nil {
			err = unix.Listen(fd, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, talk(t, path))
		conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		ours = append(ours, conn)
		if r.Conns[i].Cookie, err = handover.Cookie(conn); err != nil {
			t.Fatal(err)
		}
	}
	q, err := handover.NewQueue()
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if b, err = r.Encode(); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Fill(handover.Header{}, b, ours); err != nil {
		t.Fatal(err)
	}
	for _, fd := range ours {
		unix.Close(fd)
	}
	if queue, err = q.Keep(); err != nil {
		t.Fatal(err)
	}
	return queue, clients
}

// formerServices is what the daemon that wrote the corpus served.
func formerServices(dir string) (text string) {
	for _, s := range [][2]string{
		{"e", "kind = 'echo'"},
		{"l", "kind = 'lookup'\nanswers = { temp = \"21\\n\" }"},
		{"r", "kind = 'room'\nwelcome = ''\nmessage = '{name}: {line}'\nhistory = 3"},
	} {
		text += fmt.Sprintf("[service.%s]\nlisten = ['%s/%[1]s']\nidle_timeout = '0s'\nstall_timeout = '0s'\n%[3]s\n", s[0], dir, s[1])
	}
	return text
}

// TestRestartFromVersion1: clients of a process that wrote version 1 go on.
func TestRestartFromVersion1(t *testing.T) {
	queue, c := formerQueue(t, "version1", nil)
	r, out := runRestartable(t, parse(t, formerServices(t.TempDir())), queue)
	c[0].say("y")
	c[0].hears("y")
	c[1].say("mp\n")
	c[1].hears("21\n")
	c[2].say("still here\n")
	for _, member := range c[2:4] {
		member.hears("uid 0 pid 6688: still here\n") // the name that it had
	}
	for _, client := range c {
		client.Close()
	}
	r.stop(t)
	wantLine(t, out, "connections taken over", "conns=4", "cut=0")
}

// TestRestartFromUnknownVersions: clients whose records this version does not read are
// ended, the log says which version it was, and the daemon is up.
func TestRestartFromUnknownVersions(t *testing.T) {
	table5, err := os.ReadFile("../evloop/testdata/records/table5")
	if err != nil {
		t.Fatal(err)
	}
	set := func(field string, b []byte) func(r *handover.Records) {
		return func(r *handover.Records) {
			i := slices.IndexFunc(r.Process, func(f handover.Field) bool { return f.Name == field })
			r.Process[i].Data = b
		}
	}
	for _, tt := range []struct {
		name string
		edit func(r *handover.Records)
		want string
	}{
		{"none", set(fieldDaemon, []byte{0, 4}), "records of version 0"},
		{"newer", set(fieldDaemon, []byte{recordVersion + 1, 4}), fmt.Sprintf("records of version %d", recordVersion+1)},
		{"messages of an older loop", set(fieldMessages, table5), "version 5, want"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			queue, c := formerQueue(t, "version1", tt.edit)
			dir := t.TempDir()
			r, out := runRestartable(t, parse(t, formerServices(dir)), queue)
			for _, client := range c {
				if b, _ := io.ReadAll(client); len(b) > 0 {
					t.Errorf("heard %q, want the end", b)
				}
			}
			if got, err := ask(dir+"/e", "x"); got != "x" || err != nil {
				t.Errorf("a new client heard %q, %v", got, err)
			}
			r.stop(t)
			wantLine(t, out, "connections not taken over", "conns=4", tt.want)
		})
	}
}
