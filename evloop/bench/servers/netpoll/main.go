// SPDX-License-Identifier: Apache-2.0

// Command netpoll is echo and ask on cloudwego/netpoll, used as its
// documentation shows: one event loop, requests handled on its goroutine pool.
package main

import (
	"bytes"
	"context"

	"github.com/cloudwego/netpoll"

	"penstock/evloop/bench/servers/peer"
)

func main() {
	args := peer.Parse("echo", "ask")
	ln, err := netpoll.CreateListener(args.Network, args.Address)
	if err != nil {
		peer.Fail(err)
	}
	serve := echo
	if args.Mode == "ask" {
		serve = ask
	}
	loop, err := netpoll.NewEventLoop(serve)
	if err != nil {
		peer.Fail(err)
	}
	if err := loop.Serve(ln); err != nil {
		peer.Fail(err)
	}
}

func echo(_ context.Context, c netpoll.Connection) error {
	in, err := c.Reader().Next(c.Reader().Len())
	if err != nil {
		return err
	}
	// The input may be reused after Release, so it is copied into the output.
	out, err := c.Writer().Malloc(len(in))
	if err != nil {
		return err
	}
	copy(out, in)
	if err := c.Reader().Release(); err != nil {
		return err
	}
	return c.Writer().Flush()
}

func ask(_ context.Context, c netpoll.Connection) error {
	in, err := c.Reader().Peek(c.Reader().Len())
	if err != nil {
		return err
	}
	used := 0
	for {
		i := bytes.IndexByte(in[used:], '?')
		if i < 0 {
			break
		}
		if _, err := c.Writer().WriteString(peer.Answer(in[used : used+i+1])); err != nil {
			return err
		}
		used += i + 1
	}
	if err := c.Reader().Skip(used); err != nil {
		return err
	}
	if err := c.Reader().Release(); err != nil {
		return err
	}
	return c.Writer().Flush()
}
