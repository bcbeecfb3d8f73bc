// SPDX-License-Identifier: Apache-2.0

package evlooptest_test

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"testing"

	"penstock/evloop"
	"penstock/evloop/evlooptest"
)

func TestMain(m *testing.M) { os.Exit(evlooptest.Main(m)) }

// shout says in capitals what it hears.
type shout struct{ evloop.Base }

func (shout) Data(c *evloop.Conn, p []byte) int {
	c.Write(bytes.ToUpper(p))
	return len(p)
}

func (shout) Closed(*evloop.Conn, error) {}

// What a test of a handler looks like: from the outside by a peer, from the
// inside by functions that run on the loop.
func TestShout(t *testing.T) {
	for _, network := range []string{"unix", "unixpacket", "tcp"} {
		t.Run(network, func(t *testing.T) {
			l, err := evloop.New(evloop.Config{})
			if err != nil {
				t.Fatal(err)
			}
			evlooptest.Run(t, l)
			fd, peer := evlooptest.Pair(t, network)
			evlooptest.Do(t, l, func() { _, err = l.Add(fd, shout{}, nil) })
			if err != nil {
				t.Fatal(err)
			}

			if _, err := io.WriteString(peer, "hello\n"); err != nil {
				t.Fatal(err)
			}
			if got, err := bufio.NewReader(peer).ReadString('\n'); got != "HELLO\n" {
				t.Errorf("heard %q, %v; want HELLO", got, err)
			}

			peer.Close()
			evlooptest.Until(t, l, "the end of the connection", func() bool { return l.Stats().Conns == 0 })
		})
	}
}
