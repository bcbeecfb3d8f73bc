// SPDX-License-Identifier: Apache-2.0

package service

import (
	"strconv"
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// News are the comings and goings that a room has not told yet. One client that
// connects and leaves fifty times a second would have a thousand members get a
// hundred thousand lines in that time. So news are told one by one while they are
// few, and summed up when they come faster than the room can tell them:
//
//	bob came                  one
//	* 3 came, 2 left          more than one since the last were told
//
// A line that a member says goes out behind the news that came before it, so that
// no member speaks before it has come. The presets tell each by itself, in the
// words of their tutorials.
type news struct {
	came, left int
	one        []byte       // the text of the first, which is told if it stays alone
	about      *evloop.Conn // the client that the first is about; it does not get the text
	told       evloop.Time
	timer      evloop.TimerID
}

// untold reports whether there are any.
func (n *news) untold() bool { return n.came+n.left > 0 }

// newsCost is how long a room keeps still after news, for each member: some ten
// times what it takes to tell one member.
const newsCost = 100 * time.Microsecond

// crowd is the number of members below which a room does not keep still: it tells
// news at once.
const crowd = 64

// announce tells everybody but one that a member has come or left, unless all are
// leaving: a thousand members would get half a million goodbyes. but is the member
// itself, or nil if it has no connection any more.
func (r *room) announce(of *Session, but *evloop.Conn, t template, count *int) {
	if len(t) == 0 || r.ending {
		return
	}
	if r.conf.Preset != config.PresetNone {
		r.fan.send(evloop.NewMessage(r.render(t, of, nil)), but)
		return
	}
	if *count++; r.news.came+r.news.left == 1 {
		r.news.one, r.news.about = r.render(t, of, nil), but
	}
	r.tellSoon()
}

// announceMany tells everybody that more than one have come or left.
func (r *room) announceMany(came, left int) {
	switch {
	case r.ending:
	case r.conf.Preset != config.PresetNone:
		r.fan.send(evloop.NewMessage(sum(came, left)), nil)
	default:
		r.news.came, r.news.left = r.news.came+came, r.news.left+left
		r.tellSoon()
	}
}

// tellSoon tells the news, at once if the room is small or has kept still for long enough.
func (r *room) tellSoon() {
	if !r.news.timer.IsZero() {
		return
	}
	due := r.news.told
	if n := len(r.fan.members); n >= crowd {
		due = due.Add(time.Duration(n) * newsCost)
	}
	if r.fan.idle() && due <= r.loop.Now() {
		r.tell()
		return
	}
	r.news.timer = r.loop.Schedule(evloop.Timer{Deadline: due, Kind: timerNews, Handler: r})
}

// tell tells the news, if there are any.
func (r *room) tell() {
	n := &r.news
	r.loop.Cancel(n.timer)
	n.timer = evloop.TimerID{}
	switch n.came + n.left {
	case 0:
		return
	case 1:
		r.fan.send(evloop.NewMessage(n.one), n.about)
	default:
		r.fan.send(evloop.NewMessage(sum(n.came, n.left)), nil)
	}
	*n = news{told: r.loop.Now()}
}

// sum is the text for more than one.
func sum(came, left int) []byte {
	b := []byte("* ")
	if came > 0 {
		b = append(strconv.AppendInt(b, int64(came), 10), " came"...)
	}
	if came > 0 && left > 0 {
		b = append(b, ", "...)
	}
	if left > 0 {
		b = append(strconv.AppendInt(b, int64(left), 10), " left"...)
	}
	return append(b, '\n')
}
