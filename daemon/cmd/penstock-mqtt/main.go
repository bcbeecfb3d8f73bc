// SPDX-License-Identifier: Apache-2.0

// Command penstock-mqtt joins a running penstock to an MQTT broker: lines of services go to
// topics and come from topics, and a room is one room on many boards. See penstock-mqtt(8).
//
//	penstock ── Varlink ──► penstock-mqtt ── MQTT 5 ──► broker
//	             door.go         lines_out.go   a service's messages to a topic
//	             monitor.go      lines_in.go    a topic's messages to a service
//	                             discovery.go   what Home Assistant is told
//	                             rooms.go       rooms that boards share
//	                             spool.go       what waits for the broker
//	                             broker.go      the connection: wire.go, session.go
//
// It is a process of its own, because a library for MQTT and TLS would double the size of
// the daemon, which has no network beside its clients. It knows the daemon by the control
// socket alone.
package main

import (
	"fmt"
	"io"
	"os"
)

// version is set by the linker (see the Makefile).
var version = "unversioned"

// Exit statuses, those of penstock(8).
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78
)

const usage = `usage: penstock-mqtt [run] -c FILE [-socket PATH] [-state FOLDER]
       penstock-mqtt version

run      join the daemon to the broker that the table [mqtt] of FILE names
version  print the version

Which daemon: that of -socket PATH, then of $PENSTOCK_CONTROL, then the one that
this user has started by hand, then penstock.service. What is to outlive the
process goes to FOLDER, then to $STATE_DIRECTORY. See penstock-mqtt(8).
`

// A process is what main was started with, so that commands can be tested.
type process struct {
	stdout, stderr io.Writer
}

func main() { os.Exit(process{os.Stdout, os.Stderr}.start(os.Args[1:])) }

func (p process) start(args []string) int {
	word := ""
	if len(args) > 0 {
		word = args[0]
	}
	switch word {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(p.stdout, usage)
		return exitOK
	case "version":
		fmt.Fprintln(p.stdout, "penstock-mqtt", version)
		return exitOK
	case "run":
		args = args[1:]
	}
	return p.run(args)
}
