// SPDX-License-Identifier: Apache-2.0

// Command gonet is what most Go programmers write: package net with a
// goroutine for each connection.
package main

import (
	"net"
	"os"

	"penstock/evloop/bench/servers/peer"
)

func main() {
	args := peer.Parse("echo", "ask")
	ln, err := listen(args)
	if err != nil {
		peer.Fail(err)
	}
	serve := echo
	if args.Mode == "ask" {
		serve = ask
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			peer.Fail(err)
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// listen opens the socket, unless a service manager has done so.
func listen(args peer.Args) (net.Listener, error) {
	if peer.Inherited() {
		return net.FileListener(os.NewFile(3, "listener"))
	}
	return net.Listen(args.Network, args.Address)
}

// echo does not use io.Copy: between two TCP connections that means splice(2)
// through a pipe, two system calls more for each message.
func echo(c net.Conn) {
	buf := make([]byte, peer.BufferSize())
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// ask answers all questions of one read in one write.
func ask(c net.Conn) {
	buf := make([]byte, peer.BufferSize())
	var out []byte
	kept := 0
	for {
		n, err := c.Read(buf[kept:])
		if err != nil {
			return
		}
		in, used := buf[:kept+n], 0
		out, used = peer.AppendAnswers(out[:0], in)
		kept = copy(buf, in[used:])
		if kept == len(buf) {
			return // a question without end
		}
		if _, err := c.Write(out); err != nil {
			return
		}
	}
}
