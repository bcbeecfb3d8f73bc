// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// What the daemon is told, it forgets when the connection ends. So one stream is there to
// notice that, and it serves to see the devices change:
//
//	Watch ─► begins ─► all that is to be told: the state, who is on other boards
//	  ▲   ├─► a record of a bridge ─► its state is asked for ─► topic of its device
//	  │   └─► ends ──┐
//	  └──────────────┘
//
// To ask every few seconds was the alternative; an idle board would be awakened for it.

// companion is our name in the status.
const companion = "mqtt"

// A telling is the parameters of Tell.
type telling struct {
	Companion string `json:"companion"`
	State     string `json:"state"`
}

// A room on a board, of which the daemon is told who is in it.
type where struct{ service, board string }

// A monitor tells the daemon, and watches it.
type monitor struct {
	door    *door
	bridges []string                      // services of which the device is watched
	device  func(service string, up bool) // gets the state of a device, when it has changed

	poke chan struct{} // holds one, if there is something to tell

	mu      sync.Mutex // guards the following
	state   string
	present map[where][]string // what the daemon is to know
	changed map[where]bool     // what it does not know yet
	untold  bool               // the state
	ups     map[string]bool    // of devices
	hang    func()             // ends the connection to the daemon; nil: there is none
	failed  string             // why the daemon does not let us watch; told once
}

func newMonitor(d *door, bridges []string, device func(string, bool)) *monitor {
	return &monitor{
		door: d, bridges: bridges, device: device, poke: make(chan struct{}, 1),
		present: make(map[where][]string), changed: make(map[where]bool), ups: make(map[string]bool),
	}
}

// tell has the daemon show a state.
func (m *monitor) tell(state string) {
	m.mu.Lock()
	m.untold = m.untold || m.state != state
	m.state = state
	m.mu.Unlock()
	m.awake()
}

// presence has the daemon know who is in a room on another board.
func (m *monitor) presence(service, board string, names []string) {
	m.mu.Lock()
	p := where{service, board}
	m.present[p], m.changed[p] = names, true
	m.mu.Unlock()
	m.awake()
}

// alone has the daemon know that all other boards are out of reach. It says so in the rooms
// when a connection ends that has told of somebody.
func (m *monitor) alone() {
	m.mu.Lock()
	hang := m.hang
	if len(m.present) == 0 {
		hang = nil
	}
	clear(m.present)
	clear(m.changed)
	m.mu.Unlock()
	if hang != nil {
		hang()
	}
}

func (m *monitor) awake() {
	select {
	case m.poke <- struct{}{}:
	default:
	}
}

// run tells and watches until ctx ends.
func (m *monitor) run(ctx context.Context) {
	again(ctx, func() error {
		err := m.once(ctx)
		if e, ok := errors.AsType[*control.Error](err); ok && !e.Is(control.ErrStopping) && ctx.Err() == nil {
			m.named(e)
		}
		return err
	})
}

// named writes what the daemon has against us, once.
func (m *monitor) named(e *control.Error) {
	m.mu.Lock()
	again := m.failed == e.Error()
	m.failed = e.Error()
	m.mu.Unlock()
	if !again {
		m.door.log.Warn("daemon not watched", slog.Any("err", e))
	}
}

// once is one connection.
func (m *monitor) once(ctx context.Context) error {
	c, err := m.door.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	w, err := m.door.dial()
	if err != nil {
		return err
	}
	defer w.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// A call under way ends too.
	defer context.AfterFunc(ctx, func() { _, _ = c.Close(), w.Close() })()
	level := "error" // few come, and none is of interest
	if len(m.bridges) > 0 {
		level = "info"
	}
	m.mu.Lock()
	m.hang = cancel
	m.untold = m.state != ""
	for p, names := range m.present {
		if m.changed[p] = len(names) > 0; !m.changed[p] {
			delete(m.changed, p)
			delete(m.present, p)
		}
	}
	m.mu.Unlock()
	m.awake()
	var told sync.WaitGroup
	looks := make(chan struct{}, 1)
	looks <- struct{}{}
	told.Go(func() {
		defer cancel()
		m.telling(ctx, c, looks)
	})
	// With what is past, nothing is missed between the first look and this.
	err = w.Stream(control.Interface+".Watch", control.Watching{Level: level, Past: true}, 0, func(p json.RawMessage) error {
		var events control.Events
		if err := json.Unmarshal(p, &events); err != nil {
			return err
		}
		if events.Missed > 0 || slices.ContainsFunc(events.Events, m.concerns) {
			select {
			case looks <- struct{}{}:
			default:
			}
		}
		return nil
	})
	cancel()
	told.Wait()
	return err
}

// concerns reports whether a record is of a bridge that is watched.
func (m *monitor) concerns(e control.Event) bool {
	return slices.Contains(m.bridges, e.Fields["service"])
}

// telling makes the calls, until ctx ends or one fails.
func (m *monitor) telling(ctx context.Context, c *control.Client, looks <-chan struct{}) {
	for {
		err := error(nil)
		select {
		case <-ctx.Done():
			return
		case <-m.poke:
			err = m.tellAll(c)
		case <-looks:
			err = m.look(c)
		}
		if e, ok := errors.AsType[*control.Error](err); ok {
			m.named(e)
		} else if err != nil {
			return
		}
	}
}

// tellAll tells what the daemon does not know yet.
func (m *monitor) tellAll(c *control.Client) error {
	m.mu.Lock()
	state, untold := m.state, m.untold
	m.untold = false
	var list []control.Presence
	for p := range m.changed {
		names := m.present[p]
		list = append(list, control.Presence{Service: p.service, Board: p.board, Names: fitting(names)})
		if len(names) == 0 {
			delete(m.present, p)
		}
	}
	clear(m.changed)
	m.mu.Unlock()
	var first error
	if untold {
		first = c.Call(control.Interface+".Tell", telling{companion, state}, nil)
	}
	for _, p := range list {
		err := c.Call(control.Interface+".Present", p, nil)
		if first == nil {
			first = err
		}
	}
	return first
}

// fitting returns as many names as a call takes, as an array that is never null.
func fitting(names []string) []string {
	list, size := []string{}, 0
	for _, name := range names {
		if size += 6*len(name) + 3; size > control.LongestCall-callHead { // as JSON may have to write it
			break
		}
		list = append(list, name)
	}
	return list
}

// look asks for the states of the devices.
func (m *monitor) look(c *control.Client) error {
	if len(m.bridges) == 0 {
		return nil
	}
	var all []view.Service
	err := c.Stream(control.Interface+".Services", control.ServiceFilter{}, patience, func(p json.RawMessage) error {
		var got control.Services
		err := json.Unmarshal(p, &got)
		all = append(all, got.Services...)
		return err
	})
	if err != nil {
		return err
	}
	for i := range all {
		s := &all[i]
		if s.Source == nil || !slices.Contains(m.bridges, s.Name) {
			continue
		}
		up := s.Source.State == sourceUp
		m.mu.Lock()
		was, known := m.ups[s.Name]
		m.ups[s.Name] = up
		m.mu.Unlock()
		if !known || was != up {
			m.device(s.Name, up)
		}
	}
	return nil
}

// sourceUp is the state of a device or program that is there.
const sourceUp = "up"

// devices calls device for each state that is known, as for a broker that knows nothing.
func (m *monitor) devices() {
	m.mu.Lock()
	ups := make(map[string]bool, len(m.ups))
	for name, up := range m.ups {
		ups[name] = up
	}
	m.mu.Unlock()
	for name, up := range ups {
		m.device(name, up)
	}
}
