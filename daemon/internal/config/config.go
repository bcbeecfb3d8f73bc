// SPDX-License-Identifier: Apache-2.0

package config

import (
	"io/fs"
	"log/slog"
	"slices"
	"time"
)

// A Config is what the files said, checked and completed with defaults.
//
// It is plain data: nobody writes to it after Load or Parse returned it, so
// any goroutine may read it. Two configurations can be compared service by
// service (Service.SameAs), which is how a reload finds out what changed.
type Config struct {
	Limits   Limits
	Log      Log
	Loop     Loop
	Control  Control
	Web      *Web       // nil: there is no table [web], or it has a mistake
	MQTT     *MQTT      // nil: there is no table [mqtt], or it has a mistake
	Services []*Service // sorted by name
	Files    []string   // what was read, in this order, tables and quotes included
	Warnings Warnings   // settings that do something else than the files say
}

// Limits hold for all services together.
type Limits struct {
	Connections int   // open at once, 1 or more
	PerSource   int   // of these from one source; 0 is no limit
	Memory      int64 // bytes queued for all clients together

	// ExitIdle is the time without a client after which the process ends, if the
	// service manager can start it again; 0 is never.
	ExitIdle time.Duration
}

// Log says what is written to the log, and how much of a peer's address.
type Log struct {
	Level slog.Level
	Peers Peers
}

// Loop says how the event loop works. It is used only when the process starts.
type Loop struct {
	Backend Backend
}

// A Backend is the kernel mechanism of the event loop.
type Backend string

// The values of loop.backend.
const (
	BackendEpoll   Backend = "epoll"
	BackendIOUring Backend = "io_uring" // epoll where the kernel refuses
	BackendAuto    Backend = "auto"     // the same, but a child process tries it first
)

// Peers is how much of a peer's address the log may hold.
type Peers string

// The values of log.peers.
const (
	PeersFull   Peers = "full"   // address and port
	PeersSubnet Peers = "subnet" // the /24 or /48 it is in, no port
	PeersNone   Peers = "none"   // nothing
)

// Overflow is what happens to a client when its queue is full.
type Overflow string

// The policies; which kind takes which is in overflow.go.
const (
	Pause      Overflow = "pause"       // stop reading what this client sends
	DropOldest Overflow = "drop-oldest" // drop whole messages, the oldest first
	DropNewest Overflow = "drop-newest" // drop the message that does not fit
	Disconnect Overflow = "disconnect"
)

// Start says when the process has to run for a service.
type Start string

// The values of the key "start".
const (
	StartBoot   Start = "boot"   // from the boot on
	StartClient Start = "client" // from the first client on
)

// AtBoot reports whether a service needs the process from the boot on. Then the service
// manager starts it, and it does not end when nobody is there.
func (c *Config) AtBoot() bool {
	return slices.ContainsFunc(c.Services, (*Service).AtBoot)
}

// AtBoot reports whether the service is why Config.AtBoot is true: a broker is told what
// it says whether it has clients or not.
func (s *Service) AtBoot() bool { return s.Start == StartBoot || s.MQTT != nil }

// AtEOF is what happens to a last message without a delimiter when the client shuts
// its side for sending.
type AtEOF string

// The values of the key "at_eof".
const (
	Take AtEOF = "take" // it is a message like any other
	Drop AtEOF = "drop" // it is counted and logged
)

// Persist says what becomes of the connections of a service at a restart.
type Persist string

// The values of the key "persist".
const (
	PersistRestart Persist = "restart" // the next process goes on with them
	PersistOff     Persist = "off"     // they are finished, as at a stop
)

// A Service is one [service.NAME] table. Every field has its effective value:
// what the files left out holds the default of the kind.
type Service struct {
	Name   string // [a-z][a-z0-9_-]{0,31}, FileDescriptorName= of its socket
	Kind   Kind
	Listen []Address // at least one

	Allow    Sources  // who may connect; empty is everybody
	Deny     Sources  // who may not; see Admits
	AllowUID []uint32 // on Unix sockets, by SO_PEERCRED; empty is everybody

	AcceptProxy Proxies // who announces its clients, by the PROXY protocol

	MaxConnections int           // 0: only Limits.Connections
	PerSource      int           // of these from one source; 0: only Limits.PerSource
	IdleTimeout    time.Duration // without a byte from the client; 0 is never
	StallTimeout   time.Duration // output waiting and none taken; 0 is never
	DrainTimeout   time.Duration // for queued output at the end; 0 is not at all
	Persist        Persist
	MaxLine        int   // bytes of one message, delimiter not counted
	Start          Start // of bridge and tail; "" for other kinds
	AtEOF          AtEOF // of lookup, handler, room and bridge; "" for other kinds
	Queue          int   // bytes waiting for one client
	Overflow       Overflow
	MQTT           *Topics // of room, bridge, ticker and tail; nil: no broker is told anything

	// The rest of the common keys describes the listening socket. They are set
	// when it is opened, by the generated unit or by the daemon itself.

	Backlog     int         // listen(2)
	SocketMode  fs.FileMode // Unix sockets
	SocketUser  string      // Unix sockets; "" leaves the owner alone
	SocketGroup string      // Unix sockets; "" leaves the group alone
	BindDevice  string      // SO_BINDTODEVICE; "" is any
	IPAllow     []string    // IPAddressAllow= of systemd.resource-control(5)
	IPDeny      []string    // IPAddressDeny=

	// Of holds the keys of the kind: a *Lookup, *Ticker, *Handler, *Room, *Bridge, *Proxy,
	// *QOTD, *Tail or *Exec;
	// nil for a kind that has none.
	Of any
}
