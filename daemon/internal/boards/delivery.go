// SPDX-License-Identifier: Apache-2.0

package boards

// delivery is the queue of lines for the daemon. A line leaves it when it has landed, and
// not when it is given out: a connection or a process that ends in between loses nothing,
// and since the daemon shows the tags of what it has, nothing comes twice.
//
//	┌─ given out: at most window ─┐┌─ wait ─┐
//	 d   d   d   d   d   d   d   d  d  d  d   ◄── deliver
//	 ▲ landed: in any order
type delivery struct {
	list   []delivered
	given  int
	bytes  int
	waits  bool // for the daemon to show what it has
	joined bool // it has
}

// A delivered is a line on its way to the daemon.
type delivered struct {
	Deliver
	series string
	number uint64
}

func (d *delivered) size() int { return len(d.Name) + len(d.Text) + overhead }

// deliver puts a line of another board in.
func (r *Room) deliver(board string, l *line) {
	q := &r.delivery
	d := delivered{Deliver{board, l.Name, l.Text, tag(board, l.Series, l.Number)}, l.Series, l.Number}
	q.list = append(q.list, d)
	q.bytes += d.size()
	r.counts.Delivered++
	r.recent.add(board, *l)
	// The daemon is away, or slow. The oldest lines that it was not given have to go.
	for len(q.list) > queueLines || q.bytes > queueBytes {
		i := q.given
		if i == len(q.list) { // all from a file
			i = 0
		}
		o := q.list[i]
		q.remove(i)
		r.counts.Delivered--
		r.lose(Lost{Board: o.Board, Series: o.series, From: o.number, To: o.number})
	}
}

// pump gives out what the window has room for.
func (r *Room) pump() {
	q := &r.delivery
	for q.joined && q.given < len(q.list) && q.given < window {
		r.do(q.list[q.given].Deliver)
		q.given++
	}
}

// landed forgets a line, and reports whether it was here.
func (q *delivery) landed(tag string) bool {
	for i := range q.list {
		if q.list[i].Tag == tag {
			q.remove(i)
			return true
		}
	}
	return false
}

func (q *delivery) remove(i int) {
	q.bytes -= q.list[i].size()
	q.list = append(q.list[:i], q.list[i+1:]...)
	if i < q.given {
		q.given--
	}
}

// rejoined has what has not landed given out again, once the daemon has shown what it has.
// One that began anew since the last of it was given out has none of it.
func (q *delivery) rejoined(fresh bool) {
	q.joined, q.waits = false, true
	if fresh {
		q.given = 0
	}
}

// shown ends the wait for what the daemon shows. What is left did not arrive.
func (q *delivery) shown() { q.waits, q.joined, q.given = false, true, 0 }

// forget returns and drops what was given out: nobody can tell whether it has landed.
func (q *delivery) forget() []delivered {
	given := append([]delivered(nil), q.list[:q.given]...)
	q.list, q.given = q.list[q.given:], 0
	for i := range given {
		q.bytes -= given[i].size()
	}
	return given
}
