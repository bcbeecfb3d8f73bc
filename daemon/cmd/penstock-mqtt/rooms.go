// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"penstock/daemon/internal/boards"
	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
)

// A room that boards share is package boards, which decides all, and what is here, which
// does what it says. One goroutine has the room; what comes is put into its inbox:
//
//	Join ────────► inbox ─► Room ─► outputs ─► broker: Send
//	broker ──────►  ▲                      ├─► pending ─► Publish ─► daemon: Deliver
//	clock ───────►  └──(landed)◄───────────┼───────────────┘
//	                                       └─► Present, log, status
//
// When the broker sends more than the room takes, it is dropped: the room finds out what is
// missing, and asks for it.

// roomPrefix begins the topics of shared rooms.
const roomPrefix = "penstock/room/"

// inboxSize is how much waits for a room.
const inboxSize = 1024

// An input is a call of one method of a Room.
type input func(r *boards.Room, now time.Time)

// A shared is a room that boards share.
type shared struct {
	name    string // of the room
	service string
	board   string
	door    *door
	broker  *broker
	monitor *monitor
	keep    *keeper
	reached func(room string, r boards.Reach)

	room  *boards.Room // of the goroutine that runs
	inbox chan input

	unkept bool      // something has changed since the room was written to memory
	quick  time.Time // when that may be done again

	members []string // on this board; of the goroutine that joins

	taken string // the tag of the last line that the daemon has taken; of the goroutine that delivers

	mu      sync.Mutex // guards the following
	pending []boards.Deliver
	era     int // counts the connections to the daemon
	more    chan struct{}
}

func (g *gate) newShared(s *config.Service) *shared {
	history := 0
	if of, ok := s.Of.(*config.Room); ok {
		history = of.History
	}
	x := &shared{
		name: s.MQTT.Room, service: s.Name, board: g.broker.conf.BoardName(), door: g.door, broker: g.broker,
		monitor: g.monitor, keep: g.keep, reached: g.reached,
		inbox: make(chan input, inboxSize), more: make(chan struct{}, 1),
	}
	o := boards.Options{Room: x.name, Board: x.board, History: history}
	var before json.RawMessage
	g.keep.load(x.file(), &before)
	var err error
	if len(before) > 0 {
		x.room, err = boards.Load(o, before)
	}
	if err != nil {
		g.log.Warn("state not read, it begins anew", slog.String("room", x.name), slog.Any("err", err))
	}
	if x.room == nil {
		x.room = boards.New(o)
	}
	return x
}

func (x *shared) file() string { return "room-" + x.name }

// boardTopic is where the broker keeps what this board says of itself in the room.
func (x *shared) boardTopic() string { return roomPrefix + x.name + "/board/" + x.board }

// filters returns what is subscribed to.
func (x *shared) filters() (list []filter) {
	for _, topic := range boards.Filters(x.name, x.board) {
		list = append(list, filter{topic: topic, qos: 1, retained: true})
	}
	return list
}

// heard is called with a message of the broker.
func (x *shared) heard(p *paho.Publish) {
	topic, payload, retained := p.Topic, p.Payload, p.Retain
	select {
	case x.inbox <- func(r *boards.Room, now time.Time) { r.Heard(now, topic, payload, retained) }:
	default:
		x.door.few.warn(messageRefused, slog.String("room", x.name), slog.String("reason", reasonFull))
	}
}

// put gives the room an input. It waits for a room that is busy.
func (x *shared) put(ctx context.Context, in input) {
	select {
	case x.inbox <- in:
	case <-ctx.Done():
	}
}

// run has the room live until ctx ends.
func (x *shared) run(ctx context.Context) {
	var parts sync.WaitGroup
	parts.Go(func() { again(ctx, func() error { return x.join(ctx) }) })
	parts.Go(func() { x.deliver(ctx) })
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	saved := time.Now()
	for ctx.Err() == nil {
		timer.Stop()
		at, ok := x.room.Next()
		if x.unkept && (!ok || x.quick.Before(at)) {
			at, ok = x.quick, true
		}
		if ok {
			timer.Reset(max(0, time.Until(at)))
		}
		select {
		case <-ctx.Done():
		case in := <-x.inbox:
			in(x.room, time.Now())
			x.unkept = x.keep.quick != ""
		case <-timer.C:
			x.room.Tick(time.Now())
		}
		for _, out := range x.room.Take() {
			x.do(out)
		}
		if time.Since(saved) >= keepEvery {
			x.save()
			saved = time.Now()
		}
		if x.unkept && !time.Now().Before(x.quick) {
			x.saveQuick()
		}
	}
	parts.Wait()
	x.save()
	x.saveQuick()
}

func (x *shared) save() { x.keep.save(x.file(), json.RawMessage(x.room.Save())) }

// saveQuick writes the room to memory, which may take a part of the time and no more.
func (x *shared) saveQuick() {
	begun := time.Now()
	x.keep.saveQuick(x.file(), json.RawMessage(x.room.Save()))
	x.unkept, x.quick = false, begun.Add(max(quickEvery, quickShare*time.Since(begun)))
}

// do does what the room says.
func (x *shared) do(out boards.Output) {
	few, room := x.door.few, slog.String("room", x.name)
	switch o := out.(type) {
	case boards.Send:
		err := x.broker.publishNow(&paho.Publish{Topic: o.Topic, Payload: o.Payload, QoS: o.QoS, Retain: o.Retain})
		if err != nil {
			few.warn("message not published", room, slog.String("reason", err.Error()))
		}
	case boards.Deliver:
		x.mu.Lock()
		x.pending = append(x.pending, o)
		x.mu.Unlock()
		select {
		case x.more <- struct{}{}:
		default:
		}
	case boards.Present:
		x.monitor.presence(x.service, o.Board, o.Names)
	case boards.Lost:
		x.door.log.Warn("lines lost", room, slog.String("board", o.Board), slog.String("series", o.Series),
			slog.Uint64("from", o.From), slog.Uint64("to", o.To), slog.Bool("doubt", o.Doubt))
	case boards.Reach:
		if !o.Up {
			x.monitor.alone()
		}
		x.reached(x.name, o)
	case boards.Twin:
		few.warn("another machine has the name of this board: see board in [mqtt]", room, slog.String("board", x.board))
	case boards.Crowded:
		few.warn("too many boards in a room", room, slog.String("board", o.Board))
	}
}

// join gets the messages of the daemon's room until the connection ends.
func (x *shared) join(ctx context.Context) error {
	at := make(chan control.Joining, 1)
	x.put(ctx, func(r *boards.Room, _ time.Time) {
		series, number := r.After()
		at <- control.Joining{Service: x.service, Series: series, After: &number}
	})
	var in control.Joining
	select {
	case in = <-at:
	case <-ctx.Done():
		return nil
	}
	first := true
	took := func(p json.RawMessage) error {
		err := x.took(ctx, p, first)
		first = false
		return err
	}
	err := x.door.join(ctx, in, took)
	if e, ok := errors.AsType[*control.Error](err); ok && e.Is(control.InvalidParameter("")) {
		zero := uint64(0) // the daemon has lost what it knew, and its numbers are below ours
		err = x.door.join(ctx, control.Joining{Service: x.service, After: &zero}, took)
	}
	if e, ok := errors.AsType[*control.Error](err); ok && !e.Is(control.ErrStopping) && ctx.Err() == nil {
		x.door.few.warn("service not followed", slog.String("service", x.service), slog.String("err", e.Error()))
	}
	x.forget()
	x.put(ctx, func(r *boards.Room, now time.Time) {
		r.Left(now)
		x.forget() // what it has given out since
	})
	return err
}

// forget drops the lines that wait for the daemon, and ends the passing on of one: when the
// room has joined again, it gives out all that have not landed.
func (x *shared) forget() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.pending = nil
	x.era++
}

// errMissed means that comings and goings may be among what was missed.
var errMissed = errors.New("messages missed")

// took is called for each reply of Join.
func (x *shared) took(ctx context.Context, p json.RawMessage, first bool) error {
	var j control.Joined
	if err := json.Unmarshal(p, &j); err != nil {
		return err
	}
	if first {
		x.members = j.Names
		x.put(ctx, func(r *boards.Room, now time.Time) { r.Joined(now, j.Series, j.Last, j.Missed) })
	}
	changed := first
	for _, m := range j.Messages {
		if m.Number == 0 {
			changed = x.moved(&m) || changed
			continue
		}
		x.put(ctx, func(r *boards.Room, now time.Time) { r.Line(now, m.Number, m.Name, string(m.Bytes()), m.Tag) })
	}
	if changed {
		names := slices.Clone(x.members)
		x.put(ctx, func(r *boards.Room, now time.Time) { r.Names(now, names) })
	}
	if j.Missed > 0 && !first {
		return errMissed
	}
	return nil
}

// moved follows who is here. A name may be there twice for a moment.
func (x *shared) moved(m *control.Message) bool {
	gone := ""
	switch m.Origin {
	case "leave":
		gone = m.Name
	case "rename":
		gone = string(m.Bytes())
	case "join":
	default:
		return false
	}
	if i := slices.Index(x.members, gone); i >= 0 {
		x.members = slices.Delete(x.members, i, i+1)
	}
	if m.Origin != "leave" && m.Name != "" {
		x.members = append(x.members, m.Name)
	}
	return true
}

// deliver passes lines of other boards on to the daemon, until ctx ends.
func (x *shared) deliver(ctx context.Context) {
	var c *control.Client
	for ctx.Err() == nil {
		x.mu.Lock()
		var d *boards.Deliver
		if len(x.pending) > 0 {
			d, x.pending = &x.pending[0], x.pending[1:]
		}
		era := x.era
		x.mu.Unlock()
		if d == nil {
			select {
			case <-x.more:
			case <-ctx.Done():
			}
			continue
		}
		c = x.pass(ctx, c, *d, era)
	}
	if c != nil {
		_ = c.Close()
	}
}

// pass passes one line on. If the daemon does not answer, that is tried again as long as
// the daemon is there: Join tells if the line was taken.
func (x *shared) pass(ctx context.Context, c *control.Client, d boards.Deliver, era int) *control.Client {
	landed := func() { x.put(ctx, func(r *boards.Room, now time.Time) { r.Landed(now, d.Tag) }) }
	if d.Tag == x.taken { // it was under way when Join began again, and the room did not know
		landed()
		return c
	}
	in := control.Publication{Service: x.service, Name: d.Name, Tag: d.Tag, Board: d.Board}
	in.Data, in.Base64 = control.Text([]byte(d.Text))
	if d.Board == x.board {
		in.Board = ""
	}
	for pause := redialFirst; ctx.Err() == nil && x.current(era); pause = min(2*pause, redialMost) {
		err := error(nil)
		if c == nil {
			c, err = x.door.dial()
		}
		if err == nil {
			if b, bad := json.Marshal(in); bad != nil || len(b) > control.LongestCall-callHead {
				x.refuse(ctx, d, reasonTooLong)
				return c
			}
			err = publish(ctx, c, in)
			e, answered := errors.AsType[*control.Error](err)
			switch {
			case err == nil:
				x.taken = d.Tag
				landed()
				return c
			case answered && !e.Is(control.ErrStopping):
				x.refuse(ctx, d, why(e))
				return c
			}
			_ = c.Close()
			c = nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return c
}

// refuse says why the daemon does not take a line. The room counts it as lost.
func (x *shared) refuse(ctx context.Context, d boards.Deliver, reason string) {
	x.door.few.warn(messageRefused, slog.String("room", x.name), slog.String("board", d.Board), slog.String("reason", reason))
	x.put(ctx, func(r *boards.Room, now time.Time) { r.Refused(now, d.Tag) })
}

// current reports whether the daemon is still the one that a line was for.
func (x *shared) current(era int) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.era == era
}

// roomOf returns the name of the room that a topic is of; "" for other topics.
func roomOf(topic string) string {
	rest, ok := strings.CutPrefix(topic, roomPrefix)
	if !ok {
		return ""
	}
	name, _, _ := strings.Cut(rest, "/")
	return name
}
