// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"penstock/daemon/internal/control"
	escapes "penstock/daemon/internal/text"
	"penstock/daemon/internal/view"
)

const aboutTap = `Shows what goes over the connections of SERVICE, or over the one with the number ID
of penstock list, until it is interrupted:

    12:01:02.123 < 192.0.2.1:4000  temp?       from a client or the device
    12:01:02.124 > 192.0.2.1:4000  21          to it

-x shows bytes in hexadecimal, --json for programs. With -w FILE they go to a file for
Wireshark, tshark and tcpdump, and not to the terminal. Who may: as for penstock send.
Which daemon: see penstock status -h.
`

var (
	hexOption   = option{"x", ""}
	writeOption = option{"w", "FILE"}
)

// A tapping is one run of the command.
type tapping struct {
	ask
	hex  bool
	file *capture // nil: to standard output

	begun func()
}

func tap(p process, c command, args []string) int {
	t, path := tapping{}, ""
	a, status, ok := newAsk(p, c, args, func(flags *flag.FlagSet) {
		flags.BoolVar(&t.hex, hexOption.name(), false, "")
		flags.StringVar(&path, writeOption.name(), "", "")
	})
	if !ok {
		return status
	}
	if a.of == "" {
		return a.usage("want a service or the number of a connection")
	}
	t.ask, t.begun = a, a.begins()
	in := control.Tapping{Service: a.of}
	if id, err := strconv.ParseUint(a.of, 10, 64); err == nil {
		in = control.Tapping{ID: id}
	}
	return a.answer(a.notRunning, func(client *control.Client) error {
		if path == "" {
			return client.Stream(control.Interface+".Tap", in, 0, t.show)
		}
		port := portOf(client, in.Service)
		return client.Stream(control.Interface+".Tap", in, 0, func(p json.RawMessage) (err error) {
			if t.file == nil { // now the daemon has agreed, so a file of before may be lost
				t.file, err = createCapture(path, port)
			}
			if err != nil {
				return err
			}
			return t.show(p)
		})
	})
}

// createCapture begins a capture in a file, which is closed by the end of the process.
func createCapture(path string, port uint16) (*capture, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) // what people write
	if err != nil {
		return nil, err
	}
	return newCapture(f, port)
}

// portOf returns the port of a service's first TCP listener, or 1: Wireshark looks for
// the protocol by it.
func portOf(client *control.Client, service string) uint16 {
	var got control.Services
	if service == "" || client.Call(control.Interface+".Services", control.ServiceFilter{Service: service}, &got) != nil {
		return 1
	}
	for _, s := range got.Services {
		for _, l := range s.Listeners {
			if n, err := strconv.ParseUint(l.Address[strings.LastIndexByte(l.Address, ':')+1:], 10, 16); err == nil {
				return uint16(n)
			}
		}
	}
	return 1
}

// show shows the pieces of a reply.
func (t *tapping) show(p json.RawMessage) error {
	var got control.Pieces
	if err := json.Unmarshal(p, &got); err != nil {
		return err
	}
	t.begun()
	if err := t.missed(got.Missed, "piece"); err != nil {
		return err
	}
	for i := range got.Pieces {
		piece, err := &got.Pieces[i], error(nil)
		switch {
		case t.file != nil:
			err = t.file.write(piece)
		case t.json:
			err = t.printJSON(piece)
		default:
			_, err = t.stdout.Write(t.render(piece))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// render returns a piece as lines for a terminal.
func (t *tapping) render(p *control.Piece) []byte {
	arrow, who := "<", "device"
	if p.Direction == control.DirectionOut {
		arrow = ">"
	}
	if p.Peer != nil {
		who = p.Peer.String()
	}
	head := fmt.Sprintf("%s %s %s ", clockText(p.Time), arrow, escapes.Escape(who))
	lines := strings.SplitAfter(string(p.Bytes()), "\n")
	if t.hex {
		lines = strings.SplitAfter(hex.Dump(p.Bytes()), "\n")
	}
	var b bytes.Buffer
	for _, line := range lines {
		if line != "" {
			fmt.Fprintf(&b, "%s %s\n", head, escapes.Escape(strings.TrimRight(line, "\r\n")))
		}
	}
	return b.Bytes()
}

// addressOf returns the address of a peer in a capture. One without has a port of the
// loopback network that tells it from others.
func addressOf(p *view.Peer, id uint64) netip.AddrPort {
	if p != nil && p.Addr.IsValid() {
		return p.Addr
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 2}), uint16(1024+id%60000))
}
