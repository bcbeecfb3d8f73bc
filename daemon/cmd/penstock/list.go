// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

const aboutList = `Lists the clients of the running daemon, or of SERVICE. --sort queued begins with
those for whom the most output waits, --sort idle with those that have been silent
the longest, --sort rate with those that move the most bytes; that one looks for a
second. Which daemon: see penstock status -h.
`

var sortOption = option{"-sort", "KEY"}

// rateWindow is the time between the two looks of --sort rate.
const rateWindow = time.Second

// orders are the values of --sort. The number of a connection decides what they leave open.
var orders = map[string]func(a, b *client) int{
	"":       func(a, b *client) int { return strings.Compare(a.Service, b.Service) },
	"queued": func(a, b *client) int { return cmp.Compare(b.Queued+b.Kernel, a.Queued+a.Kernel) },
	"idle":   func(a, b *client) int { return cmp.Compare(b.Idle, a.Idle) },
	"rate":   func(a, b *client) int { return cmp.Compare(b.rate.In+b.rate.Out, a.rate.In+a.rate.Out) },
}

// A client is a connection, and the bytes that it moves in a second.
type client struct {
	view.Conn
	rate view.Traffic
}

// rateOf returns how many bytes moved in a second, between two looks. What has been
// counted anew meanwhile is not known.
func rateOf(now, was view.Traffic, took time.Duration) view.Traffic {
	if took <= 0 || now.In < was.In || now.Out < was.Out {
		return view.Traffic{}
	}
	each := func(n uint64) uint64 { return uint64(float64(n) / took.Seconds()) }
	return view.Traffic{In: each(now.In - was.In), Out: each(now.Out - was.Out)}
}

func list(p process, c command, args []string) int {
	var by string
	a, status, ok := newAsk(p, c, args, func(flags *flag.FlagSet) { flags.StringVar(&by, sortOption.name(), "", "") })
	if !ok {
		return status
	}
	order := orders[by]
	if order == nil {
		fmt.Fprintf(a.stderr, "penstock list: --sort takes queued, idle or rate, not %q\n", by)
		return exitUsage
	}
	return a.answer(a.sayIdle, func(daemon *control.Client) error {
		clients, err := clientsOf(daemon, a.of, by == "rate")
		if err != nil {
			return err
		}
		slices.SortFunc(clients, func(x, y *client) int { return cmp.Or(order(x, y), cmp.Compare(x.ID, y.ID)) })
		if !a.json {
			a.printClients(clients, by == "rate")
			return nil
		}
		for _, c := range clients {
			if err := a.printJSON(c.Conn); err != nil {
				return err
			}
		}
		return nil
	})
}

// clientsOf returns the clients of a service, or all. For their rates it looks twice.
func clientsOf(daemon *control.Client, service string, rates bool) ([]*client, error) {
	conns, err := connections(daemon, service)
	if err != nil {
		return nil, err
	}
	before := make(map[uint64]view.Traffic)
	began := time.Now()
	if rates {
		for _, c := range conns {
			before[c.ID] = c.Traffic
		}
		time.Sleep(rateWindow)
		if conns, err = connections(daemon, service); err != nil {
			return nil, err
		}
	}
	took := time.Since(began)
	clients := make([]*client, len(conns))
	for i, c := range conns {
		clients[i] = &client{Conn: c}
		if was := before[c.ID]; rates {
			clients[i].rate = rateOf(c.Traffic, was, took)
		}
	}
	return clients, nil
}

func connections(daemon *control.Client, service string) ([]view.Conn, error) {
	return gather(daemon, "List", service, func(r control.Connections) []view.Conn { return r.Connections })
}

func (a ask) printClients(clients []*client, rates bool) {
	t := table{columns: []column{
		{head: "ID", right: true},
		{head: "SERVICE", gives: 8},
		{head: "PEER", gives: 15},
		{head: "AGE", right: true},
		{head: "IDLE", right: true},
		{head: "IN", right: true},
		{head: "OUT", right: true},
		{head: "QUEUED", right: true},
		{head: "DROPPED", right: true},
	}}
	if rates {
		t.columns[4].head = "RATE/s"
	}
	for _, c := range clients {
		idle := timeText(c.Idle)
		if rates {
			idle = bytesText(c.rate.In + c.rate.Out)
		}
		t.add(strconv.FormatUint(c.ID, 10), c.Service, c.Peer.String(), timeText(c.Age), idle,
			bytesText(c.In), bytesText(c.Out), bytesText(c.Queued+c.Kernel), strconv.FormatUint(c.Dropped, 10))
	}
	t.write(a.stdout)
}
