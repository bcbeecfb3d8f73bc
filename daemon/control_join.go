// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"slices"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/service"
)

// Join is for a program that wants a service's messages and not its bytes, such as one
// that passes them on to a broker:
//
//	after = 6   history: 7 8 ─┐
//	            from now on ──┴─► stream ─► reply: 7 8 9, missed: 0
//
// These kinds have it, since what they say is for all clients alike:
//
//	room     what members say and programs publish; comings and goings
//	bridge   what the device or program says to all; no replies of transactions
//	ticker   its payload; one who has joined counts as a client, so that it goes
//	tail     the lines of the file
//
// The others speak with each client alone. A handler could speak to all, but what it says
// has no history, and its program can speak to whomever it wants by itself.

// A joining is a program that follows the messages of a service.
type joining struct {
	stream stream[service.Message]
	ep     *endpoint
	feed   *service.Feed
	names  []string // for the first reply
}

// Follow is for service.Follower.
func (j *joining) Follow(m service.Message) { j.stream.push(m, len(m.Text)) }

// join begins to follow a service.
func (k *controlSocket) join(a *asker) (func() bool, *control.Error) {
	var to control.Joining
	err := control.Decode(a.call.Parameters, map[string]any{"service": &to.Service, "after": &to.After, "series": &to.Series}, "service")
	if err == nil {
		err = wantsMore(a)
	}
	if err != nil {
		return nil, err
	}
	ep, err := k.one(to.Service)
	if err != nil {
		return nil, err
	}
	f, ok := ep.svc.(service.Feeder)
	switch {
	case !ok:
		return nil, control.Refused("no messages for all: kind " + string(ep.conf.Kind))
	case k.d.life.phase >= leaving:
		return nil, control.ErrStopping
	}
	j := &joining{ep: ep, feed: f.Feed()}
	j.stream = stream[service.Message]{k: k, a: a, bound: streamBound, tell: j.told, leave: j.left}
	if err := j.catchUp(to); err != nil {
		return nil, err
	}
	j.feed.Add(j)
	if g, ok := ep.svc.(service.Gathering); ok {
		j.names = g.Names()
	}
	ep.joined = append(ep.joined, j)
	j.changed(true)
	return j.stream.begin()
}

// catchUp has what is kept told first. Another series means that the numbers have begun
// anew, and that all there is was not seen yet.
func (j *joining) catchUp(to control.Joining) *control.Error {
	if to.After == nil {
		return nil
	}
	after := *to.After
	if to.Series != "" && to.Series != control.Series(j.feed.Series()) {
		after = 0
	}
	if after > j.feed.Last() {
		return control.InvalidParameter("after")
	}
	list, missed := j.feed.Since(after)
	for _, m := range list {
		size := len(m.Text) + itemSize
		j.stream.list = append(j.stream.list, item[service.Message]{m, size})
		j.stream.bytes += size
	}
	j.stream.bound += j.stream.bytes // it is in memory anyway
	j.stream.missed = missed
	return nil
}

// told is a reply.
func (j *joining) told(list []service.Message, missed uint64) any {
	r := control.Joined{
		Series: control.Series(j.feed.Series()), Last: j.feed.Last(), Missed: missed,
		Messages: make([]control.Message, len(list)), Names: j.names,
	}
	j.names = nil
	for i, m := range list {
		r.Messages[i] = control.Message{Number: m.Number, Origin: m.Origin, Peer: m.Peer, Name: m.Name, Tag: m.Tag}
		r.Messages[i].Data, r.Messages[i].Base64 = control.Text(m.Text)
	}
	return r
}

// left is called when the stream is over.
func (j *joining) left() {
	j.feed.Remove(j)
	j.ep.joined = slices.DeleteFunc(j.ep.joined, func(o *joining) bool { return o == j })
	j.changed(false)
}

// changed counts: a process that is followed has something to do.
func (j *joining) changed(on bool) {
	d := j.ep.d
	if w, ok := j.ep.svc.(service.Watched); ok {
		w.Followed(on)
	}
	if on {
		d.joins++
	} else if d.joins--; d.joins == 0 {
		d.rested()
	}
}

// unjoin ends the streams of a service that ends. Whoever comes again finds what has
// taken its place, or learns that nothing has.
func (ep *endpoint) unjoin() {
	for _, j := range ep.joined {
		j.stream.fail(control.ErrStopping)
	}
}
