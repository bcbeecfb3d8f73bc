// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What a turn has no time for is not overtaken by what goes on again and again.
func TestLoopNobodyIsOvertaken(t *testing.T) { eachBackend(t, nobodyIsOvertaken) }

func nobodyIsOvertaken(r *rig) {
	const conns, bytes = 5 * fewest, 1000
	r.use(Config{Work: 1})
	served := map[*Conn]int{}
	var all []*Conn
	for range conns {
		c, p := r.unix()
		p.write(string(make([]byte, bytes)))
		all = append(all, c)
	}
	r.onData = func(c *Conn, p []byte) int { // one byte in a turn, and at once again
		served[c]++
		c.Write([]byte("x")) // costs
		c.Yield()
		return 1
	}
	r.until("all but a few", func() bool { return len(served) == conns })
	least, most := bytes, 0
	for range 20 * conns / fewest {
		r.turn()
	}
	for _, c := range all {
		least, most = min(least, served[c]), max(most, served[c])
	}
	if most > 2*least+2 {
		r.Errorf("served %d times at least and %d times at most", least, most)
	}
}

// While the kernel has more events than one wait reports, a turn has less work.
func TestLoopCrowdedTurn(t *testing.T) {
	r := newEpollRig(t)
	const work = crowdedShare * 100
	r.use(Config{Work: work})
	r.l.work.events = 2
	begins := func() int {
		b := r.l.work
		b.begin()
		return b.left
	}
	conns := map[*Conn]*peer{}
	for range 3 {
		c, p := r.unix()
		conns[c] = p
	}
	r.turn() // epoll tells of each that it can be written to
	for c, p := range conns {
		p.write("x")
		arrives(t, c.FD(), unix.POLLIN)
	}
	if n := begins(); n != work {
		t.Errorf("a turn has %d before the events, want %d", n, work)
	}
	r.turn()
	if !r.l.work.crowded {
		t.Fatal("two of three events, and the kernel is thought to have no more")
	}
	if n := begins(); n != work/crowdedShare {
		t.Errorf("a turn has %d while events wait, want %d", n, work/crowdedShare)
	}
	r.turn()
	if n := begins(); n != work {
		t.Errorf("a turn has %d after the events, want %d", n, work)
	}
}
