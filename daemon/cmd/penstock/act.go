// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"strconv"

	"penstock/daemon/internal/control"
)

// The commands that change something. Root may, and control.admins; the log says who did.

const aboutKick = `Ends the connection of the number ID, which penstock list shows, or with SERVICE and
PEER all connections of the service from an address or user ("192.0.2.1", "uid 1000").
`

const aboutDrain = `Lets no new client of SERVICE in; who comes waits until penstock resume. The clients
that are there stay, but with --now they are finished within drain_timeout. A restart
of the daemon changes nothing about it, a stop ends it.
`

const aboutResume = `Lets clients of SERVICE in again, those first who have waited.
`

var nowOption = option{"-now", ""}

// act calls a method, and says what came of it.
func (a ask) act(method string, in, out any, said func() string) int {
	return a.answer(a.notRunning, func(client *control.Client) error {
		if err := client.Call(control.Interface+"."+method, in, out); err != nil {
			return err
		}
		fmt.Fprintln(a.stdout, said())
		return nil
	})
}

// usage says what is missing on the command line.
func (a ask) usage(what string) int {
	fmt.Fprintf(a.stderr, "penstock %s: %s\n%s", a.name, what, a.help())
	return exitUsage
}

func kick(p process, c command, args []string) int {
	a, status, ok := newAsk(p, c, args, nil)
	if !ok {
		return status
	}
	var in control.Kick
	id, err := strconv.ParseUint(a.of, 10, 64)
	switch {
	case a.second == "" && err == nil && id > 0:
		in.ID = id
	case a.of != "" && a.second != "":
		in.Service, in.Peer = a.of, a.second
	default:
		return a.usage("want the number of a connection, or a service and a peer")
	}
	var out control.Kicked
	return a.answer(a.notRunning, func(client *control.Client) error {
		if err := client.Call(control.Interface+".Kick", in, &out); err != nil {
			return err
		}
		if out.Kicked == 0 {
			return fmt.Errorf("no client of %s is %s: see penstock list %[1]s", in.Service, in.Peer)
		}
		_, err := fmt.Fprintln(a.stdout, plural(out.Kicked, "connection"), "ended")
		return err
	})
}

func drain(p process, c command, args []string) int {
	var now bool
	a, status, ok := newAsk(p, c, args, func(flags *flag.FlagSet) { flags.BoolVar(&now, nowOption.name(), false, "") })
	switch {
	case !ok:
		return status
	case a.of == "":
		return a.usage("want a service")
	}
	return a.act("Drain", control.Drain{Service: a.of, Now: now}, nil, func() string {
		return a.of + " lets nobody in; to end that: penstock resume " + a.of
	})
}

func resume(p process, c command, args []string) int {
	a, status, ok := newAsk(p, c, args, nil)
	switch {
	case !ok:
		return status
	case a.of == "":
		return a.usage("want a service")
	}
	return a.act("Resume", control.Resume{Service: a.of}, nil, func() string { return a.of + " lets clients in" })
}

const aboutLogLevel = `Has the running daemon log what is of LEVEL or above: debug, info, warn or error.
A start and a reload take the level from the file again.
`

func logLevel(p process, c command, args []string) int {
	a, status, ok := newAsk(p, c, args, nil)
	switch {
	case !ok:
		return status
	case a.of == "":
		return a.usage("want a level: debug, info, warn or error")
	}
	return a.act("SetLogLevel", control.LogLevel{Level: a.of}, nil, func() string { return "log.level is " + a.of })
}
