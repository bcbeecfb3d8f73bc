// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"testing"

	"golang.org/x/sys/unix"
)

// What a turn has no time for is not overtaken by what goes on again and again.
func TestLoopNobodyIsOvertaken(t *testing.T) { eachBackend(t, nobodyIsOvertaken) }

func nobodyIsOvertaken(r *rig) {
	const conns, bytes = 5 * fewest, 100
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
	var conns []*Conn
	for range 3 {
		c, p := r.unix()
		conns = append(conns, c)
		r.turn()
		p.write("x")
		arrives(t, c.FD(), unix.POLLIN)
	}
	if n := begins(); n != work {
		t.Errorf("a turn has %d before the events, want %d", n, work)
	}
	for _, c := range conns[1:] {
		c.Pause()
	}
	for range 3 { // each leaves some of them to the next wait
		if r.l.work.crowded && begins() != work/crowdedShare {
			t.Errorf("a turn has %d while events wait, want %d", begins(), work/crowdedShare)
		}
		r.turn()
	}
}
