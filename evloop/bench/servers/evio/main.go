// SPDX-License-Identifier: Apache-2.0

// Command evio is echo and ask on tidwall/evio as its examples show: one loop, with the
// input stream that the library brings for messages that come in parts.
package main

import (
	"github.com/tidwall/evio"

	"penstock/evloop/bench/servers/peer"
)

func main() {
	args := peer.Parse("echo", "ask")
	events := evio.Events{NumLoops: 1, Opened: opened, Data: echo}
	if args.Mode == "ask" {
		events.Data = ask
	}
	peer.Fail(evio.Serve(events, args.Network+"://"+args.Address))
}

// opened has all connections share the buffer of input, which is cheaper. evio copies the
// answer.
func opened(evio.Conn) ([]byte, evio.Options, evio.Action) {
	return nil, evio.Options{ReuseInputBuffer: true}, evio.None
}

func echo(_ evio.Conn, in []byte) ([]byte, evio.Action) { return in, evio.None }

func ask(c evio.Conn, in []byte) ([]byte, evio.Action) {
	stream, ok := c.Context().(*evio.InputStream)
	if !ok {
		stream = new(evio.InputStream)
		c.SetContext(stream)
	}
	data := stream.Begin(in)
	out, used := peer.AppendAnswers(nil, data)
	stream.End(data[used:])
	return out, evio.None
}
