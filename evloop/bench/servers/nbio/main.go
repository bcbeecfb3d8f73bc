// SPDX-License-Identifier: Apache-2.0

// Command nbio is echo and ask on lesismal/nbio as its documentation shows, with one
// poller. Its own log, which goes to standard output, says where it listens.
package main

import (
	"github.com/lesismal/nbio"

	"penstock/evloop/bench/servers/peer"
)

func main() {
	args := peer.Parse("echo", "ask")
	engine := nbio.NewEngine(nbio.Config{Network: args.Network, Addrs: []string{args.Address}, NPoller: 1})
	serve := echo
	if args.Mode == "ask" {
		serve = ask
	}
	engine.OnData(serve)
	if err := engine.Start(); err != nil {
		peer.Fail(err)
	}
	select {}
}

// echo need not copy, as the example in nbio's documentation does: Write copies what the
// kernel does not take.
func echo(c *nbio.Conn, in []byte) {
	if _, err := c.Write(in); err != nil {
		_ = c.Close()
	}
}

// ask keeps what comes before the end of a question as the session of the connection.
func ask(c *nbio.Conn, in []byte) {
	kept, _ := c.Session().([]byte)
	if len(kept) > 0 {
		in = append(kept, in...)
	}
	out, used := peer.AppendAnswers(nil, in)
	if used < len(in) || len(kept) > 0 {
		c.SetSession(append([]byte(nil), in[used:]...))
	}
	if len(out) == 0 {
		return
	}
	if _, err := c.Write(out); err != nil {
		_ = c.Close()
	}
}
