// SPDX-License-Identifier: Apache-2.0

// Package view holds what can be seen of a running daemon, as plain data. It
// imports nothing of ours: a program that shows a daemon needs no event loop.
//
// The daemon makes a [Snapshot] on its loop, and all of it is of one moment. Records of
// the log and the status line are made from that value alone. The alternative was that
// each reader asks the daemon for what it shows. Then each would need the loop, and two
// answers would be of different moments.
package view

import (
	"cmp"
	"slices"
	"time"
)

// A Snapshot is the daemon at one moment. It shares nothing with the daemon, so
// any goroutine may read it.
type Snapshot struct {
	Version  string
	PID      int
	Uptime   time.Duration // since the process has its services
	Phase    string        // starting, ready, reloading, leaving or stopping
	Managed  bool          // a service manager opens the sockets
	Refused  string        // why the files are not in force; "": they are
	Restored time.Time     // when what is served in their place came into force; zero: they were refused by a reload
	Limit    int           // how many clients there may be
	Loop     Loop
	Services []Service // in force, by name; then those that end

	Companions []Companion // by name
}

// A Companion is a program beside the daemon, and what it says of itself.
type Companion struct {
	Name  string `json:"name"`
	State string `json:"state"`
}

// The names in JSON are those of the interface penstock.Control (package control).

// Loop holds the counters of the event loop.
type Loop struct {
	Turns        uint64 `json:"turns"`
	Timers       int    `json:"timers"`
	Queued       int64  `json:"queued"`   // bytes that wait to be sent, or to be taken by a service
	Accepted     uint64 `json:"accepted"` // clients taken since the start
	AcceptErrors uint64 `json:"accept_errors"`
	StaleEvents  uint64 `json:"stale_events"` // of the kernel, for connections that were closed before

	Busy    time.Duration `json:"busy_ns"`         // in turns
	Asleep  time.Duration `json:"asleep_ns"`       // between them
	Longest time.Duration `json:"longest_turn_ns"` // since the start
	// Took counts turns by length: of less than TurnBound(0), of less than TurnBound(1)
	// and not less than that, and so on. The last one is of all that are longer.
	Took []uint64 `json:"turns_by_time"`
}

// TurnBound returns a bound of Loop.Took: 64 µs, 256 µs and so on.
func TurnBound(i int) time.Duration { return 64 * time.Microsecond << (2 * i) }

// A Service is one service of the configuration, or of an earlier one.
type Service struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	Leaving   bool       `json:"leaving"` // it lets nobody in and ends with its last client
	Drained   bool       `json:"drained"` // it lets nobody in, as an administrator wants
	Listeners []Listener `json:"listeners"`
	Missing   []string   `json:"missing"` // addresses that it lists and that nothing listens on

	Clients  int               `json:"connections"` // connected now
	Most     int               `json:"most"`        // the most at once since the service began
	Accepted uint64            `json:"accepted"`    // clients since then
	Dropped  uint64            `json:"dropped"`     // messages that overflow took
	Refused  map[string]uint64 `json:"refused"`     // clients, by reason
	Cut      map[string]uint64 `json:"cut"`         // clients that did not leave by themselves, by reason
	Lost     map[string]uint64 `json:"lost"`        // messages received and not served, by reason
	Source   *Source           `json:"source,omitempty"`

	Unstarted  bool `json:"-"` // its program could not be started when that was last tried
	Unanswered bool `json:"-"` // no address of its backend has answered when a client last needed one

	// Bytes is what all clients have sent and got, those that are there included. It is
	// zero until these were looked at.
	Bytes Traffic `json:"bytes"`

	// Bytes in a second, as the last second and the last minute had them. They come from
	// what was counted when somebody asked before; nil: nobody has, or too long ago.
	Second *Traffic `json:"rate_1s,omitempty"`
	Minute *Traffic `json:"rate_60s,omitempty"`

	Closed Traffic `json:"-"` // of clients that have gone

	// The following are zero until the clients themselves were looked at.

	Open   Traffic `json:"-"` // of those that are there
	Kernel int     `json:"-"` // bytes sent that the kernel still holds for them
	Conns  []Conn  `json:"-"` // some of them, those with the most queued first
}

// A Listener is one listening socket.
type Listener struct {
	Address string `json:"address"` // as getsockname(2) or the configuration says it
	Dead    bool   `json:"dead"`    // it will accept nobody any more
}

// Traffic counts bytes of connections.
type Traffic struct {
	In  uint64 `json:"in"`
	Out uint64 `json:"out"`
}

// A Source is the device or program of a bridge. What is counted here was lost, or was
// wrong, before any client could get it.
type Source struct {
	Name    string         `json:"name"`  // path of the device or program
	State   string         `json:"state"` // absent, opening, up, lost and the like
	Traffic `json:"bytes"` // since it is up
	Long    uint64         `json:"long_lines"`       // lines that were passed on in pieces
	Queued  int            `json:"queued"`           // bytes of messages that wait until it is there
	Unsent  uint64         `json:"unsent"`           // bytes that had not left it when it went or was closed, since the service began
	Refused string         `json:"settings_refused"` // what a device has otherwise: "mode=8N1"

	// Counted by the driver since the service began.

	Overrun uint64 `json:"overrun"`
	Frame   uint64 `json:"frame"`
	Parity  uint64 `json:"parity"`
	Break   uint64 `json:"break"`
}

// A Conn is one client's connection.
type Conn struct {
	ID      uint64        `json:"id"`      // never used twice by a process, below 2^53
	Service string        `json:"service"` // its name; in a Service it may be left out
	Peer    Peer          `json:"peer"`
	Age     time.Duration `json:"age_ns"`
	Idle    time.Duration `json:"idle_ns"`       // since a byte has moved
	Queued  int           `json:"queued"`        // bytes that wait to be sent
	Kernel  int           `json:"kernel_queued"` // bytes sent that the kernel still holds
	Traffic `json:"bytes"`
	Dropped uint64 `json:"dropped"` // messages
	Unsent  int    `json:"-"`       // bytes of output that its end has thrown away
}

// Clients returns how many clients there are.
func (s *Snapshot) Clients() (n int) {
	for i := range s.Services {
		n += s.Services[i].Clients
	}
	return n
}

// InForce returns how many services the configuration has.
func (s *Snapshot) InForce() (n int) {
	for i := range s.Services {
		if !s.Services[i].Leaving {
			n++
		}
	}
	return n
}

// Degraded returns the names of services in force that lack a listener.
func (s *Snapshot) Degraded() (names []string) {
	for i := range s.Services {
		if v := &s.Services[i]; !v.Leaving && len(v.Missing) > 0 {
			names = append(names, v.Name)
		}
	}
	return names
}

// Sourceless returns the names of services in force whose device or program is not there,
// or could not be started, or whose backend has not answered.
func (s *Snapshot) Sourceless() (names []string) {
	for i := range s.Services {
		v := &s.Services[i]
		away := v.Source != nil && (v.Source.State == "absent" || v.Source.State == "lost")
		if !v.Leaving && (away || v.Unstarted || v.Unanswered) {
			names = append(names, v.Name)
		}
	}
	return names
}

// Drained returns the names of services in force that let nobody in, as an administrator
// wants.
func (s *Snapshot) Drained() (names []string) {
	for i := range s.Services {
		if s.Services[i].Drained {
			names = append(names, s.Services[i].Name)
		}
	}
	return names
}

// Add counts a client that is there, and lists it if no more than most of the
// service's clients have more queued. What the kernel holds for it is left to
// AddKernel. The cost does not grow with the number of clients that were added.
func (s *Service) Add(c Conn, most int) {
	s.Open.In += c.In
	s.Open.Out += c.Out
	if len(s.Conns) == most {
		if most == 0 || !before(c, s.Conns[most-1]) {
			return
		}
		s.Conns = s.Conns[:most-1]
	}
	i, _ := slices.BinarySearchFunc(s.Conns, c, func(a, b Conn) int {
		if before(a, b) {
			return -1
		}
		return 1
	})
	s.Conns = slices.Insert(s.Conns, i, c)
}

// AddKernel counts the bytes that the kernel holds for a client that was added.
func (s *Service) AddKernel(id uint64, bytes int) {
	s.Kernel += bytes
	if i := slices.IndexFunc(s.Conns, func(c Conn) bool { return c.ID == id }); i >= 0 {
		s.Conns[i].Kernel = bytes
	}
}

// before reports whether a stands before b in a list.
func before(a, b Conn) bool {
	return cmp.Or(cmp.Compare(b.Queued, a.Queued), cmp.Compare(a.ID, b.ID)) < 0
}
