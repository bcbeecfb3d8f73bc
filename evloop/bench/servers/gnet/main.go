// SPDX-License-Identifier: Apache-2.0

// Command gnet is echo and ask on panjf2000/gnet as its own examples use it: one event
// loop, an answer for all that has come.
package main

import (
	"github.com/panjf2000/gnet/v2"

	"penstock/evloop/bench/servers/peer"
)

func main() {
	args := peer.Parse("echo", "ask")
	err := gnet.Run(&server{ask: args.Mode == "ask"}, args.Network+"://"+args.Address, gnet.WithNumEventLoop(1))
	peer.Fail(err) // Run returns only if it cannot serve
}

type server struct {
	gnet.BuiltinEventEngine

	ask bool
	out []byte // of the one loop
}

func (s *server) OnTraffic(c gnet.Conn) gnet.Action {
	if !s.ask {
		in, err := c.Next(-1)
		if err != nil {
			return gnet.Close
		}
		if _, err := c.Write(in); err != nil {
			return gnet.Close
		}
		return gnet.None
	}
	in, err := c.Peek(-1)
	if err != nil {
		return gnet.Close
	}
	var used int
	s.out, used = peer.AppendAnswers(s.out[:0], in)
	if _, err := c.Discard(used); err != nil {
		return gnet.Close
	}
	if _, err := c.Write(s.out); err != nil {
		return gnet.Close
	}
	return gnet.None
}
