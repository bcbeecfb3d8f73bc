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
	Phase    string    // starting, ready, reloading or stopping
	Managed  bool      // a service manager opens the sockets
	Refused  string    // why the files are not in force; "": they are
	Restored time.Time // when what is served in their place came into force; zero: they were refused by a reload
	Loop     Loop
	Services []Service // in force, by name; then those that end
}

// Loop holds the counters of the event loop.
type Loop struct {
	Timers       int
	Queued       int64  // bytes that wait to be sent, or to be taken by a service
	Accepted     uint64 // clients taken since the start
	AcceptErrors uint64
	StaleEvents  uint64 // of the kernel, for connections that were closed before
}

// A Service is one service of the configuration, or of an earlier one.
type Service struct {
	Name, Kind string
	Leaving    bool // it lets nobody in and ends with its last client
	Listeners  []Listener
	Missing    []string // addresses that it lists and that nothing listens on

	Clients           int    // connected now
	Accepted, Dropped uint64 // clients since the start; messages that overflow took
	Refused, Lost     map[string]uint64
	Closed            Traffic // of clients that have gone
	Source            *Source // of a bridge; nil for other kinds

	// The following are zero until the clients themselves were looked at.

	Open   Traffic // of those that are there
	Kernel int     // bytes sent that the kernel still holds for them
	Conns  []Conn  // some of them, those with the most queued first
}

// A Listener is one listening socket.
type Listener struct {
	Address string // as getsockname(2) or the configuration says it
	Dead    bool   // it will accept nobody any more
}

// Traffic counts bytes of connections.
type Traffic struct{ In, Out uint64 }

// A Source is the device or program of a bridge. What is counted here was lost, or was
// wrong, before any client could get it.
type Source struct {
	Name    string // path of the device or program
	State   string // absent, opening, up, lost and the like
	Traffic        // since it is up
	Long    uint64 // lines that were passed on in pieces
	Queued  int    // bytes of messages that wait until it is there
	Unsent  uint64 // bytes that it had not taken when it went, since the service began

	Overrun, Frame, Parity, Break uint64 // counted by the driver since the service began
}

// A Conn is one client's connection.
type Conn struct {
	ID             uint64 // never used twice by a process, below 2^53
	Peer           Peer
	Age            time.Duration
	Queued, Kernel int // bytes that wait to be sent; bytes sent that the kernel still holds
	Traffic
	Dropped uint64 // messages
	Unsent  int    // bytes of output that its end has thrown away
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

// Sourceless returns the names of services in force whose device or program is not there.
func (s *Snapshot) Sourceless() (names []string) {
	for i := range s.Services {
		v := &s.Services[i]
		if !v.Leaving && v.Source != nil && (v.Source.State == "absent" || v.Source.State == "lost") {
			names = append(names, v.Name)
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
