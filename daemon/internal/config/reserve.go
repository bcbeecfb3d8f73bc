// SPDX-License-Identifier: Apache-2.0

package config

// headroom is kept free of clients: standard streams, epoll, the wake
// descriptor, the notify and journal sockets, and files read in a reload. The
// event loop has one of its own for programs that set no limit, which this one
// does.
const headroom = 32

// ControlPlaces is how many clients the control socket has at once, and ControlFiles how
// many open files it and they need. Where the limit of open files is low, clients of
// services come first.
const (
	ControlPlaces = 16
	ControlFiles  = ControlPlaces + 1
)

// companionEach is how many clients of the control socket the companion of a broker is for
// each of its services: one that follows it, one that asks, and one in reserve, for a
// connection that has broken is noticed late.
const companionEach = 3

// CompanionPlaces returns how many clients the control socket has beside ControlPlaces.
func (c *Config) CompanionPlaces() (n int) {
	for _, s := range c.Services {
		n += s.companionPlaces()
	}
	return n
}

func (s *Service) companionPlaces() int {
	if s.MQTT == nil {
		return 0
	}
	return companionEach
}

// Beside returns how many connections of the loop, and open files, so many clients of
// all services may need beside their own: a relay has two for each.
func (c *Config) Beside(clients int) int {
	n := 0
	for _, s := range c.Services {
		n += s.Beside(clients)
	}
	return min(n, clients)
}

// ReservedFiles returns how many open files the daemon needs beside those of its
// clients. RLIMIT_NOFILE, which the generated unit or the daemon sets, is this number
// plus Limits.Connections and what these have beside.
func (c *Config) ReservedFiles() int {
	n := headroom
	for _, s := range c.Services {
		n += s.Files()
	}
	return n
}
