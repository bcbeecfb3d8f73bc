// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"io"
	"testing"

	"penstock/evloop/evlooptest"

	"golang.org/x/sys/unix"
)

// Reads that end short of what they asked for although there is more: nothing
// follows from their length, and there is no second edge.

// Bytes behind a passed descriptor are not hidden.
func TestLoopPassedDescriptor(t *testing.T) { eachBackend(t, passedDescriptor) }

// A read of a Unix stream ends behind bytes that carried descriptors, short
// of what it was asked for, with more to read and no second edge. Nobody asked
// for the descriptors, so they must not arrive: neither those passed before the
// loop had the socket nor later ones, which Linux 6.16 can refuse.
func passedDescriptor(r *rig) {
	ours, p := socketPair(r.T, unix.SOCK_STREAM)
	read, write := r.pipe()
	before := len(evlooptest.Descriptors())
	pass := func(text string) error { return unix.Sendmsg(p.fd, []byte(text), unix.UnixRights(write), nil, 0) }
	p.write("before ")
	if err := pass("with "); err != nil {
		r.Fatal(err)
	}
	p.write("behind")
	c := r.add(ours)
	want := "before with behind"
	r.until("all bytes", func() bool { return string(r.of(c).got) == want })

	c.Pause() // until everything is there, so that one edge is for all
	p.write(", later ")
	want += ", later "
	switch err := pass("with "); err {
	case nil:
		want += "with "
	case unix.EPERM:
	default:
		r.Fatal(err)
	}
	p.write("behind")
	want += "behind"
	r.turn()
	r.do(c.Resume)
	r.until("all later bytes", func() bool { return string(r.of(c).got) == want })
	if got := len(evlooptest.Descriptors()); got != before {
		r.Errorf("%d descriptors, %d before the messages", got, before)
	}
	unix.Close(write)
	q := newPeer(r.T, read)
	if _, err := q.receive(); err != io.EOF {
		r.Errorf("the pipe whose end was passed: %v, want EOF since nobody holds it", err)
	}
}

// Bytes behind urgent data are not hidden.
func TestLoopUrgentData(t *testing.T) { eachBackend(t, urgentData) }

// recv stops at the mark of urgent data, short of what it was asked for.
func urgentData(r *rig) {
	for name, pair := range map[string]func() (*Conn, *peer){"TCP": r.tcp, "Unix stream": r.unix} {
		c, p := pair()
		r.turn()
		c.Pause()
		p.write("before")
		if err := unix.Send(p.fd, []byte("!"), unix.MSG_OOB); err != nil {
			r.Logf("%s has no urgent data here: %v", name, err) // CONFIG_AF_UNIX_OOB
			continue
		}
		p.write("behind")
		arrives(r.T, c.FD(), unix.POLLPRI)
		r.turn()
		r.do(c.Resume)
		r.until("all bytes but the urgent one", func() bool { return string(r.of(c).got) == "beforebehind" })
	}
}
