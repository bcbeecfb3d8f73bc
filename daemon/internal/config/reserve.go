// SPDX-License-Identifier: Apache-2.0

package config

const (
	// headroom is kept free of clients: standard streams, epoll, the wake
	// descriptor, the notify and journal sockets, and files read in a reload.
	headroom = 32
	// perHandler is what a handler's program costs: three pipe ends and what
	// starting and awaiting a process needs.
	perHandler = 5
)

// ReservedFiles returns how many open files the daemon needs beside those of
// its clients. Whoever sets RLIMIT_NOFILE, the generated unit or the daemon
// itself, adds Limits.Connections.
func (c *Config) ReservedFiles() int {
	n := headroom
	for _, s := range c.Services {
		n += len(s.Listen)
		if s.Kind == KindHandler {
			n += perHandler
		}
	}
	return n
}
