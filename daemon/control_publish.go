// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/service"
	"penstock/evloop"
)

// Publish puts one message in: to the members of a room, or to the device or program of a
// bridge, under its key write. A service that cannot take it at once is asked again, and
// again, for as long as publishTime: a room whose members have yet to get the lines
// before, a device that is slow, a transaction that is under way. That nobody tells when
// it can is the price for callers that are no clients and wait in no queue; it costs
// nothing while nobody publishes.
const (
	publishTime  = 10 * time.Second
	publishAgain = 10 * time.Millisecond
)

// A publishing is a call of Publish that is under way.
type publishing struct {
	k     *controlSocket
	a     *asker
	ep    *endpoint
	p     service.Publication
	text  string // the parameter that has it
	until evloop.Time
	waits bool
}

// publish begins a call of Publish.
func (k *controlSocket) publish(a *asker) (func() bool, *control.Error) {
	var in control.Publication
	err := control.Decode(a.call.Parameters, map[string]any{
		"service": &in.Service, "data": &in.Data, "base64": &in.Base64, "name": &in.Name, "tag": &in.Tag, "board": &in.Board,
	}, "service")
	if err != nil {
		return nil, err
	}
	if (in.Data == nil) == (in.Base64 == nil) {
		return nil, control.InvalidParameter("data")
	}
	if len(in.Tag) > longestTag {
		return nil, control.InvalidParameter("tag")
	}
	if in.Board != "" && !config.IsLevel(in.Board) {
		return nil, control.InvalidParameter("board")
	}
	ep, err := k.one(in.Service)
	if err != nil {
		return nil, err
	}
	if !k.isCompanion(groupsOf(a.conn.FD())) { // theirs are events of the service, and many
		k.log.Acted(control.ShortName(control.Interface+".Publish"), a.peer, []byte(in.Service))
	}
	text, of := in.Base64, "base64"
	if in.Data != nil {
		text, of = []byte(*in.Data), "data"
	}
	p := &publishing{
		k: k, a: a, ep: ep, text: of, until: k.d.loop.Now().Add(publishTime),
		p: service.Publication{Text: text, Name: in.Name, Tag: in.Tag, Board: in.Board, Peer: a.peer},
	}
	a.stream = p
	return p.step, nil
}

// longestTag is the most bytes of a tag, which is kept with the message.
const longestTag = 64

// step offers the message.
func (p *publishing) step() (done bool) {
	if p.waits {
		return false
	}
	to, ok := p.ep.svc.(service.Publisher)
	switch {
	case !ok:
		p.a.fail(control.Refused("no messages are taken: kind " + string(p.ep.conf.Kind)))
		return true
	case p.ep.retired || p.k.d.life.phase >= leaving:
		p.a.fail(control.ErrStopping)
		return true
	}
	number, err := to.Publish(&p.p)
	l := p.k.d.loop
	switch {
	case errors.Is(err, service.ErrBusy) && l.Now() < p.until:
		p.waits = true
		l.Schedule(evloop.Timer{Deadline: l.Now().Add(publishAgain), Conn: p.a.conn.ID(), Handler: p})
		return false
	case errors.Is(err, service.ErrDelimiter):
		p.a.fail(control.InvalidParameter(p.text))
	case err != nil:
		p.a.fail(control.Refused(err.Error()))
	default:
		p.a.reply(control.Published{Number: number}, false)
		p.k.d.outputMayWait()
	}
	return true
}

// Expired offers it again.
func (p *publishing) Expired(*evloop.Loop, evloop.Timer) {
	p.waits = false
	p.k.wait(p.a)
}

// pending and end are for streaming.
func (p *publishing) pending() bool { return !p.waits }
func (p *publishing) end()          {}
