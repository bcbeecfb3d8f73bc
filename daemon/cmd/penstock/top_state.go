// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// What top shows, as plain data. Keys and answers of the daemon are steps from one state
// to the next; top_draw.go makes a screen of a state, and top.go alone knows a terminal
// and a socket. So each step and each screen can be tested without them.
//
//	             enter                 enter
//	services ──────────► clients of it ──────► one client
//	    │  ◄── escape ──    ▲  ◄── escape ──       │
//	    └───── c: of all ───┘                      │
//	                        └── k: end it? ── y ───┘
//
// The selected row is remembered by its name or number, so that it stays where it is
// while rows come, go and change their order.

type topView int

const (
	topServices topView = iota
	topClients
	topClient
)

// A topState is what top knows and shows.
type topState struct {
	view    topView
	of      string          // the service whose clients are shown; "": of all
	name    string          // of the selected service
	id      uint64          // of the selected client
	order   map[topView]int // index into serviceOrders or clientOrders
	reverse map[topView]bool
	ending  *client // the question is whether to end it; nil: there is no question
	message string  // in place of the help line, until the next key

	status   control.Status
	services []*topService
	clients  []*client
	turns    uint64 // of the loop, in a second
	asked    time.Time
	listed   time.Time // when the clients were; zero: what is shown of them is older than the view
	err      error     // of the last look; what is shown is older
}

// A topService is a service, and the bytes that it moves in a second.
type topService struct {
	view.Service
	rate view.Traffic
}

// A topQuery is what the state wants to know, or to have done.
type topQuery struct {
	clients bool
	of      string // a service, or "" for all
	end     uint64 // a client; 0: none
}

// A topAnswer is what the daemon says.
type topAnswer struct {
	topQuery
	status   control.Status
	services []view.Service
	conns    []view.Conn
	at       time.Time
	took     time.Duration
	err      error // nothing but topQuery, at and took is known
	endErr   error
}

// A topKey is a letter, or one of the following.
type topKey rune

const (
	keyUp topKey = -1 - iota
	keyDown
	keyPageUp
	keyPageDown
	keyHome
	keyEnd
	keyEnter
	keyEscape
	keyInterrupt
)

// topPage is how many rows a page is, whatever the size of the screen.
const topPage = 10

// A topOrder is a way to sort rows. The order that the daemon gives decides what it leaves
// open.
type topOrder[T any] struct {
	name    string
	compare func(a, b T) int
}

var serviceOrders = []topOrder[*topService]{
	{"name", func(a, b *topService) int { return strings.Compare(a.Name, b.Name) }},
	{"clients", func(a, b *topService) int { return cmp.Compare(b.Clients, a.Clients) }},
	{"rate", func(a, b *topService) int { return cmp.Compare(b.rate.In+b.rate.Out, a.rate.In+a.rate.Out) }},
	{"refused", func(a, b *topService) int { return cmp.Compare(sum(b.Refused), sum(a.Refused)) }},
}

// clientOrders are those of list --sort.
var clientOrders = []topOrder[*client]{
	{"service", orders[""]}, {"rate", orders["rate"]}, {"queued", orders["queued"]}, {"idle", orders["idle"]},
}

func newTopState() *topState {
	return &topState{order: make(map[topView]int), reverse: make(map[topView]bool)}
}

// query returns what the state wants to know next.
func (t *topState) query() topQuery { return topQuery{clients: t.view != topServices, of: t.of} }

// key takes a key. It returns a query if something is to be asked at once, and whether top
// is to end.
func (t *topState) key(k topKey) (q *topQuery, quit bool) {
	t.message = ""
	switch {
	case k == keyInterrupt:
		return nil, true
	case t.ending != nil:
		return t.answered(k), false
	}
	switch k {
	case 'q':
		return nil, true
	case keyEnter:
		return t.enter(), false
	case keyEscape:
		return t.leave(), false
	case 'c':
		return t.show(topClients, ""), false
	case 's':
		t.order[t.view] = (t.order[t.view] + 1) % t.orders()
		t.sort()
	case 'r':
		t.reverse[t.view] = !t.reverse[t.view]
		t.sort()
	case 'k':
		if t.view != topServices {
			t.ending = t.selected()
		}
	default:
		t.move(k)
	}
	return nil, false
}

// orders returns how many ways there are to sort the rows of the view.
func (t *topState) orders() int {
	if t.view == topServices {
		return len(serviceOrders)
	}
	return len(clientOrders)
}

// answered takes the answer to the question whether to end a client.
func (t *topState) answered(k topKey) *topQuery {
	c := t.ending
	t.ending = nil
	if k != 'y' {
		return nil
	}
	q := t.query()
	q.end = c.ID
	return &q
}

func (t *topState) enter() *topQuery {
	switch t.view {
	case topServices:
		if t.service() != nil {
			return t.show(topClients, t.name)
		}
	case topClients:
		if t.selected() != nil {
			t.view = topClient
		}
	}
	return nil
}

func (t *topState) leave() *topQuery {
	switch t.view {
	case topClients:
		return t.show(topServices, "")
	case topClient:
		t.view = topClients
	}
	return nil
}

// show changes the view. What it is to show was not asked for before.
func (t *topState) show(v topView, of string) *topQuery {
	t.view, t.of, t.id = v, of, 0
	t.clients, t.listed = nil, time.Time{}
	q := t.query()
	return &q
}

// selected returns the client that is selected, or the first one; nil: there is none.
func (t *topState) selected() *client {
	if i := t.row(); i < len(t.clients) && t.view != topServices {
		return t.clients[i]
	}
	return nil
}

// service returns the service that is selected; nil: there is none.
func (t *topState) service() *topService {
	if i := t.row(); i < len(t.services) && t.view == topServices {
		t.name = t.services[i].Name
		return t.services[i]
	}
	return nil
}

// row returns the index of the selected row; 0 if it has gone, but in the view of a single
// client.
func (t *topState) row() int {
	if t.view == topServices {
		return max(0, slices.IndexFunc(t.services, func(s *topService) bool { return s.Name == t.name }))
	}
	i := slices.IndexFunc(t.clients, func(c *client) bool { return c.ID == t.id })
	if i < 0 && t.view == topClient {
		return len(t.clients)
	}
	return max(0, i)
}

// move selects another row.
func (t *topState) move(k topKey) {
	n := len(t.clients)
	if t.view == topServices {
		n = len(t.services)
	}
	steps := map[topKey]int{keyUp: -1, keyDown: 1, keyPageUp: -topPage, keyPageDown: topPage, keyHome: -n, keyEnd: n}
	if steps[k] == 0 || n == 0 || t.view == topClient {
		return
	}
	i := min(max(0, t.row()+steps[k]), n-1)
	if t.view == topServices {
		t.name = t.services[i].Name
	} else {
		t.id = t.clients[i].ID
	}
}

// take takes an answer. One that is about another view than the present one counts for the
// services alone.
func (t *topState) take(a topAnswer) {
	if a.end != 0 {
		t.message = endText(a)
	}
	if t.err = a.err; a.err != nil {
		return
	}
	took := a.at.Sub(t.asked)
	if a.status.PID != t.status.PID { // another process counts from 0, and may give the same numbers to others
		t.services, t.clients, t.listed, t.ending, took = nil, nil, time.Time{}, nil, 0
	}
	t.turns = 0
	if took > 0 && a.status.Loop.Turns >= t.status.Loop.Turns {
		t.turns = uint64(float64(a.status.Loop.Turns-t.status.Loop.Turns) / took.Seconds())
	}
	t.status, t.asked = a.status, a.at
	t.takeServices(a.services, took)
	if a.clients && t.view != topServices && a.of == t.of {
		t.takeClients(a)
	}
	t.sort()
}

func (t *topState) takeServices(services []view.Service, took time.Duration) {
	was := make(map[string]view.Traffic)
	for _, s := range t.services {
		was[s.Name+" "+s.Kind] = s.Bytes
	}
	t.services = nil
	for _, s := range services {
		row := &topService{Service: s}
		if before, known := was[s.Name+" "+s.Kind]; known {
			row.rate = rateOf(s.Bytes, before, took)
		}
		t.services = append(t.services, row)
	}
}

func (t *topState) takeClients(a topAnswer) {
	was := make(map[uint64]view.Traffic, len(t.clients))
	for _, c := range t.clients {
		was[c.ID] = c.Traffic
	}
	rows := make([]*client, len(a.conns))
	for i, c := range a.conns {
		rows[i] = &client{Conn: c}
		if before, known := was[c.ID]; known {
			rows[i].rate = rateOf(c.Traffic, before, a.at.Sub(t.listed))
		}
	}
	t.clients, t.listed = rows, a.at
	if t.id == 0 && len(rows) > 0 {
		t.sort()
		t.id = t.clients[0].ID
	}
}

// sort puts the rows of the view in order.
func (t *topState) sort() {
	if t.view == topServices {
		sortRows(t.services, serviceOrders[t.order[topServices]].compare, t.reverse[topServices])
		return
	}
	by := clientOrders[t.order[topClients]].compare
	sortRows(t.clients, func(a, b *client) int { return cmp.Or(by(a, b), cmp.Compare(a.ID, b.ID)) }, t.reverse[topClients])
}

func sortRows[T any](rows []*T, compare func(a, b *T) int, reverse bool) {
	slices.SortStableFunc(rows, func(a, b *T) int {
		if reverse {
			return compare(b, a)
		}
		return compare(a, b)
	})
}

// endText says what became of the wish to end a client.
func endText(a topAnswer) string {
	switch {
	case a.endErr == nil:
		return fmt.Sprintf("connection %d ends", a.end)
	case errors.Is(a.endErr, control.MethodNotFound("")):
		return "this daemon cannot end single connections: it is older than this command"
	case errors.Is(a.endErr, control.ErrPermission):
		return "you may look, but not end connections: penstock(8) says who may"
	}
	return explain(a.endErr)
}
