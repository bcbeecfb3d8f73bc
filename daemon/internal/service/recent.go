// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"

	"penstock/daemon/internal/record"
	"penstock/evloop"
)

// recent holds what a newcomer is shown: the last messages, and how many lines each of
// them has. Most kinds send a message for each line. A bridge sends several lines in one,
// so its oldest message may begin before the first line that counts.
type recent struct {
	list  []kept // the oldest first
	lines int
	bytes int

	delim []byte // ends a line; empty: each message is a line
	most  int    // lines
	bound int    // bytes: a newcomer has to be able to take all of it
}

// A kept is a message and the lines in it.
type kept struct {
	m     *evloop.Message
	lines int
	about *About // nil: nothing is known
}

// adjust sets the bounds.
func (r *recent) adjust(most, bound int) {
	r.most, r.bound = most, bound
	r.forget()
}

// keep adds a message. about may be nil.
func (r *recent) keep(m *evloop.Message, about *About) {
	if r.most == 0 {
		return
	}
	k := kept{m, 1, about}
	if len(r.delim) > 0 {
		k.lines = bytes.Count(m.Bytes(), r.delim)
	}
	r.list = append(r.list, k)
	r.lines += k.lines
	r.bytes += m.Len()
	r.forget()
}

// forget drops what is over the bounds.
func (r *recent) forget() {
	for len(r.list) > 0 {
		k := r.list[0]
		if r.lines-k.lines < r.most && r.bytes <= r.bound {
			return
		}
		r.lines -= k.lines
		r.bytes -= k.m.Len()
		r.list[0] = kept{}
		r.list = r.list[1:]
	}
}

func (r *recent) clear() { r.list, r.lines, r.bytes = nil, 0, 0 }

// all yields messages with the last lines.
func (r *recent) all(yield func(*evloop.Message) bool) {
	for i, k := range r.list {
		m := k.m
		if over := r.lines - r.most; i == 0 && over > 0 {
			m = evloop.NewMessage(after(m.Bytes(), r.delim, over)) // part of the same bytes
		}
		if !yield(m) {
			return
		}
	}
}

// show sends the last lines to a newcomer.
func (r *recent) show(c *evloop.Conn) {
	for m := range r.all {
		c.Send(m)
	}
}

// save writes the last lines for the next process.
func (r *recent) save(w *record.Writer) {
	w.Number(uint64(len(r.list)))
	for m := range r.all {
		w.Text(m.Bytes())
	}
}

// readRecent reads what save has written. It is for load, once the whole record is known
// to be good.
func readRecent(in *record.Reader) (list []*evloop.Message) {
	n := in.Count(1)
	for ; n > 0 && in.Left(); n-- {
		list = append(list, evloop.NewMessage(bytes.Clone(in.Text()))) // the records are soon garbage
	}
	if n > 0 {
		in.Text() // is missing, as Err tells
	}
	return list
}

// load takes what the process before has kept, as far as the bounds allow.
func (r *recent) load(list []*evloop.Message) {
	for _, m := range list {
		r.keep(m, nil)
	}
}

// saveAbout writes what is known of the messages that save has written.
func (r *recent) saveAbout(w *record.Writer) {
	for _, k := range r.list {
		a := k.about
		if a == nil {
			w.Text(nil)
			continue
		}
		w.Text([]byte(a.Origin)) // which is never empty
		w.Bool(a.Peer != nil)
		if a.Peer != nil {
			savePeer(w, *a.Peer)
		}
		w.Text([]byte(a.Name))
		w.Text([]byte(a.Tag))
		w.Bool(a.where.placed)
		if a.where.placed {
			w.Number(uint64(a.where.at))
			w.Number(uint64(a.where.size))
		}
	}
}

// readAbout reads what saveAbout has written of a list; nil: nothing is known.
func readAbout(in *record.Reader, list []*evloop.Message) (all []*About, err error) {
	for _, m := range list {
		a := &About{Origin: string(in.Text())}
		if a.Origin == "" {
			all = append(all, nil)
			continue
		}
		if in.Bool() {
			p, bad := loadPeer(in)
			a.Peer, err = &p, errors.Join(err, bad)
		}
		a.Name, a.Tag = string(in.Text()), string(in.Text())
		if in.Bool() {
			at, size := in.Number(), in.Number()
			if at > uint64(m.Len()) || size > uint64(m.Len())-at {
				return nil, record.ErrDamaged
			}
			a.where = span{true, int(at), int(size)}
		}
		all = append(all, a)
	}
	return all, err
}

// after returns p without its first n lines.
func after(p, delim []byte, n int) []byte {
	for ; n > 0; n-- {
		_, p, _ = bytes.Cut(p, delim)
	}
	return p
}
