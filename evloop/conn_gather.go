// SPDX-License-Identifier: Apache-2.0

package evloop

// Gathered output lies in one buffer of the loop. With a buffer for each
// connection, output would not need the queue as a second way, but every idle
// connection would hold 4 KiB. A system call for each Write costs twelve times
// the CPU when a client pipelines sixteen questions.

const (
	// maxVectors bounds a gathered write. IOV_MAX is 1024; beyond some tens
	// of pieces the copy inside the kernel outweighs the saved calls.
	maxVectors  = 64
	maxNodes    = 1024 // most nodes that one write takes: many may lie side by side in one buffer
	scratchSize = 64 << 10
)

// gather is the output of the present callback to one connection.
type gather struct {
	c       *Conn
	pieces  [][]byte // in scratch, or memory that stays unchanged until the callback returns
	scratch []byte
	bytes   int
	copied  bool // the last piece ends where scratch ends, and may grow
	begun   bool // the first piece is the rest of one that has begun to go out
}

func (g *gather) reset() {
	clear(g.pieces)
	g.c, g.pieces, g.scratch, g.bytes = nil, g.pieces[:0], g.scratch[:0], 0
	g.copied, g.begun = false, false
}

// borrowMin is the least size of bytes that are sent from where they lie and
// not copied. Copying a short answer next to the one before costs less than
// another vector.
const borrowMin = 512

// borrow takes p itself and reports whether it had room.
func (g *gather) borrow(p []byte) bool {
	if len(g.pieces) == maxVectors {
		return false
	}
	g.pieces, g.copied = append(g.pieces, p), false
	g.bytes += len(p)
	return true
}

// copy takes a copy of p and reports whether it had room.
func (g *gather) copy(p []byte) bool {
	if g.scratch == nil {
		g.scratch = make([]byte, 0, scratchSize)
	}
	start := len(g.scratch)
	if start+len(p) > scratchSize || (!g.copied && len(g.pieces) == maxVectors) {
		return false
	}
	g.scratch = append(g.scratch, p...)
	if g.copied {
		last := &g.pieces[len(g.pieces)-1]
		*last = (*last)[:len(*last)+len(p)]
	} else {
		g.pieces, g.copied = append(g.pieces, g.scratch[start:]), true
	}
	g.bytes += len(p)
	return true
}

// advance forgets n bytes that were sent.
func (g *gather) advance(n int) {
	g.bytes -= n
	i := 0
	for n > 0 && n >= len(g.pieces[i]) {
		n -= len(g.pieces[i])
		i++
	}
	if i > 0 {
		rest := copy(g.pieces, g.pieces[i:])
		clear(g.pieces[rest:]) // stale pieces would keep their messages alive
		g.pieces = g.pieces[:rest]
	}
	if n > 0 {
		g.pieces[0] = g.pieces[0][n:]
	}
	g.begun = n > 0
}

// spill moves what was gathered for c into its queue. The ledger is the caller's.
func (l *Loop) spill(c *Conn) {
	if l.gather.c != c {
		return
	}
	for _, p := range l.gather.pieces {
		l.enqueueCopy(c, p)
	}
	if l.gather.begun {
		c.out.rest = true
	}
	l.gather.reset()
}
