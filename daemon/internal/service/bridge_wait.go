// SPDX-License-Identifier: Apache-2.0

package service

// A line is the clients of a bridge that wait for its source, in the order in which they
// are served:
//
//	first ─► starving ... ─► others ... ─► last
//
// It is a list through the callers themselves. In a slice each one that leaves moves all
// behind it, and when a device hangs thousands may wait and leave at once.
type line struct {
	first, last *caller
	starved     *caller // the last of those that went on and had nothing taken; nil: none
	n           int
}

// append lets cl stand behind all.
func (l *line) append(cl *caller) { l.insert(l.last, cl) }

// prepend lets cl stand before all.
func (l *line) prepend(cl *caller) { l.insert(nil, cl) }

// starve lets cl stand behind those that starve, and before the others.
func (l *line) starve(cl *caller) {
	l.insert(l.starved, cl)
	l.starved = cl
}

// insert lets cl stand behind another, or before all if that is nil.
func (l *line) insert(before, cl *caller) {
	behind := l.first
	if before != nil {
		behind = before.behind
	}
	cl.before, cl.behind = before, behind
	if before == nil {
		l.first = cl
	} else {
		before.behind = cl
	}
	if behind == nil {
		l.last = cl
	} else {
		behind.before = cl
	}
	l.n++
}

// remove takes cl out, wherever it stands.
func (l *line) remove(cl *caller) {
	if l.starved == cl {
		l.starved = cl.before // it starves, too
	}
	if cl.before == nil {
		l.first = cl.behind
	} else {
		cl.before.behind = cl.behind
	}
	if cl.behind == nil {
		l.last = cl.before
	} else {
		cl.behind.before = cl.before
	}
	cl.before, cl.behind = nil, nil
	l.n--
}

// take takes the first one out; nil: there is none.
func (l *line) take() *caller {
	cl := l.first
	if cl != nil {
		l.remove(cl)
	}
	return cl
}
