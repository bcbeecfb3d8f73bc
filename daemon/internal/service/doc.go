// SPDX-License-Identifier: Apache-2.0

// Package service holds what penstock speaks: one file for each kind of
// service.
//
// A service is an [evloop.Handler] for all connections of one [service.NAME]
// table. It sees bytes that came and writes bytes that must go; accepting,
// limits, deadlines, queues and the log of connections are the business of the
// daemon and the loop.
//
//	             Accept        Open Data EOF Drained Closed
//	listener ─────────► daemon ────────────────────────────► Service
//	                      │ makes the Session (c.State)         │
//	                      └ counts, logs, sets evloop.Options   └ c.Write, c.Send
//
// To add a kind: write one file with a type and its methods, one test with the
// exact bytes, a line in makers (service.go), and its row in package config.
// Embed plain for the callbacks that the kind does not care about.
//
// Everything here runs on the loop's goroutine, so no type has a lock. The one
// exception is in package process: a handler's program is started and waited for
// by a goroutine that talks to the loop through Post.
package service
