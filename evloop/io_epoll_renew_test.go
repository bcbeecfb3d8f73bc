// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// registered returns how many descriptors epoll watches, as the kernel tells it.
func (r *rig) registered() int {
	r.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", r.l.sys.epfd))
	if err != nil {
		r.Fatal(err)
	}
	return strings.Count(string(text), "tfd:")
}

// When nearly all connections leave, what stays has the news that came before, during
// and after; what leaves is not in epoll any more, and comes back into the same loop as
// after a hand-over that failed. That holds where the kernel refuses a second epoll,
// too.
func TestManyLeaveTogether(t *testing.T) {
	for _, tt := range []struct {
		name    string
		leaving int
		renewed bool
		refused bool // the kernel has no descriptor for a second epoll
	}{
		{"few", fewToRenew - 1, false, false},
		{"many", fewToRenew, true, false},
		{"no descriptor", fewToRenew, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) { manyLeave(newEpollRig(t), tt.leaving, tt.renewed, tt.refused) })
	}
}

func manyLeave(r *rig, n int, renewed, refused bool) {
	old := r.registered() // the waker
	lent, _ := r.unix()   // which epoll does not have
	if err := lent.Lend(); err != nil {
		r.Fatal(err)
	}
	stays, p := r.unix()
	stuck, far := r.unix()
	want := r.stick(stuck)
	ln, d := r.listen(4)
	bell := r.open(unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC))
	o := &lookout{}
	r.watch(bell, o)
	staying := r.registered()
	if staying != old+4 {
		r.Fatalf("%d descriptors in epoll, want %d", staying, old+4)
	}
	var leaving []*Conn
	var peers []*peer
	for range n {
		c, p := r.unix()
		leaving, peers = append(leaving, c), append(peers, p)
	}
	dial(r.T, ln.FD())
	p.write("before")
	signal(bell)

	epfd, release := r.l.sys.epfd, func() {}
	if refused {
		release = exhaust(r.T, 0)
	}
	r.l.enter()
	carried, messages := r.l.DetachAll(leaving)
	r.l.leave()
	release()
	if got := r.l.sys.epfd != epfd; got != renewed {
		r.Errorf("another epoll: %t, want %t", got, renewed)
	}
	if got := r.registered(); got != staying {
		r.Errorf("%d descriptors in epoll after DetachAll, want %d", got, staying)
	}
	r.l.Post(func() { want = append(want, "posted"...); stuck.Write([]byte("posted")) })
	r.until("a client and its bytes", func() bool {
		return len(d.peers) == 1 && len(o.events) > 0 && string(r.of(stays).got) == "before"
	})
	p.write(" after")
	r.until("later bytes", func() bool { return string(r.of(stays).got) == "before after" })
	r.gets(far, want)

	re, err := r.l.NewRestore(messages)
	if err != nil {
		r.Fatal(err)
	}
	var back []*Conn
	for _, k := range carried {
		c, err := re.Conn(k.FD, r.probe, nil, nil, k.Record)
		if err != nil {
			r.Fatal(err)
		}
		back = append(back, c)
	}
	re.Done()
	for _, p := range peers {
		p.write("back")
	}
	r.until("bytes of those that came back", func() bool {
		return !slices.ContainsFunc(back, func(c *Conn) bool { return string(r.of(c).got) != "back" })
	})
}
