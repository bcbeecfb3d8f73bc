// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"slices"
	"sort"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/text"
	"penstock/daemon/internal/view"
)

// What a companion says of itself, and of who is in a room elsewhere, is true as long as it
// is there to say otherwise. So it is kept with its connection, and ends with that: one that
// is killed has told its last. The alternative was a time after which it has to be said
// again, which is traffic for nothing, and a guess.

// held is what is kept for a client of the control socket.
type held struct {
	companion view.Companion // without a state: it has told nothing
	rooms     []*endpoint    // that it has said something of
}

func (h *held) any() bool { return h.companion.State != "" || len(h.rooms) > 0 }

// longestState is the most bytes that a companion can say of itself.
const longestState = 256

// tell keeps what a companion says of itself.
func (k *controlSocket) tell(a *asker) (func() bool, *control.Error) {
	var c view.Companion
	if err := control.Decode(a.call.Parameters, map[string]any{"companion": &c.Name, "state": &c.State}, "companion", "state"); err != nil {
		return nil, err
	}
	switch {
	case !config.IsLevel(c.Name):
		return nil, control.InvalidParameter("companion")
	case len(c.State) > longestState:
		return nil, control.InvalidParameter("state")
	}
	c.State = string(text.AppendClean(nil, []byte(c.State)))
	k.forget(a)
	if a.holds.companion = c; c.State != "" {
		k.told = append(k.told, a)
	}
	k.hold(a)
	return nil, nil
}

// present keeps who is in a room on another board.
func (k *controlSocket) present(a *asker) (func() bool, *control.Error) {
	var in control.Presence
	err := control.Decode(a.call.Parameters, map[string]any{"service": &in.Service, "board": &in.Board, "names": &in.Names},
		"service", "board", "names")
	if err != nil {
		return nil, err
	}
	if !config.IsLevel(in.Board) {
		return nil, control.InvalidParameter("board")
	}
	ep, err := k.one(in.Service)
	if err != nil {
		return nil, err
	}
	g, ok := ep.svc.(service.Gathering)
	switch {
	case !ok:
		return nil, control.Refused("nobody is together there: kind " + string(ep.conf.Kind))
	case k.d.life.phase >= leaving:
		return nil, control.ErrStopping
	}
	if err := g.Present(a, in.Board, in.Names); err != nil {
		return nil, control.Refused(err.Error())
	}
	if !slices.Contains(a.holds.rooms, ep) {
		a.holds.rooms = append(a.holds.rooms, ep)
	}
	k.hold(a)
	k.d.outputMayWait()
	return nil, nil
}

// hold answers a companion, and keeps its connection, which may say nothing for hours.
func (k *controlSocket) hold(a *asker) {
	if a.conn != nil {
		a.conn.HoldIdle(a.holds.any())
	}
	a.reply(struct{}{}, false)
}

// forget drops what a companion has said of itself.
func (k *controlSocket) forget(a *asker) {
	k.told = slices.DeleteFunc(k.told, func(o *asker) bool { return o == a })
}

// letGo drops all that is kept for a client that has gone. If the process leaves, rooms
// keep still, since the companion comes to the next one.
func (k *controlSocket) letGo(a *asker) {
	k.forget(a)
	for _, ep := range a.holds.rooms {
		if g, ok := ep.svc.(service.Gathering); ok && k.d.life.phase < leaving {
			g.Alone(a)
		}
	}
	a.holds = held{}
}

// companions returns those that have told something, by name.
func (k *controlSocket) companions() (list []view.Companion) {
	for _, a := range k.told {
		list = append(list, a.holds.companion)
	}
	// Package slices would bring its own copy of the code.
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}
