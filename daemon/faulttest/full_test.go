// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// addRest adds services by which a daemon does what those of newHost leave out:
// it ends a connection by itself, asks for the machine's networks, ends clients
// that are silent, and sends more than a client takes.
func (h *host) addRest() {
	h.add("once", "kind = \"daytime\"\n")
	h.add("brief", fmt.Sprintf("kind = \"echo\"\nidle_timeout = \"%v\"\n", brief))
	h.add("chargen", "kind = \"chargen\"\nallow = [\"local-subnets\", \"127.0.0.0/8\"]\n")
	h.add("ticker", "kind = \"ticker\"\ninterval = \"50ms\"\n")
}

// Visits of the services of addRest. Each returns errEnded if the daemon has
// ended the client too early.
var rest = map[string]func(*client) error{
	"once":    (*client).hear,
	"brief":   (*client).tire,
	"chargen": (*client).dawdle,
	"ticker":  (*client).ping,
}

// hear reads the one line of a service that then ends the connection.
func (c *client) hear() error {
	_ = c.SetReadDeadline(time.Now().Add(c.patience))
	b, err := io.ReadAll(c)
	switch {
	case len(b) == 0, errors.Is(err, unix.ECONNRESET):
		return errEnded
	case err != nil:
		return fmt.Errorf("%s: %w", c.socket, err)
	case !bytes.HasSuffix(b, []byte("\n")):
		return fmt.Errorf("%s: read %.40q", c.socket, b)
	}
	return nil
}

// brief is how long a client of the service of that name may be silent.
const brief = 200 * time.Millisecond

// tire says something and is then silent until the daemon ends it. On a busy machine it
// may be silent for so long before it says anything.
func (c *client) tire() error {
	switch err := c.round(); {
	case errors.Is(err, errEnded) && time.Since(c.since) >= brief:
		return nil
	case err != nil:
		return err
	}
	_ = c.SetReadDeadline(time.Now().Add(c.patience))
	switch n, err := c.Read(make([]byte, 1)); {
	case n > 0:
		return fmt.Errorf("%s: read %d bytes, want the end of an idle client", c.socket, n)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%s: no end of an idle client: %w", c.socket, err)
	}
	return nil
}

// readLate is how long a slow client does not read. It waits for nothing: the daemon
// is to find full buffers meanwhile, and any time does that is longer than its turn.
const readLate = 20 * time.Millisecond

// dawdle begins to read late, and reads more than all buffers hold.
func (c *client) dawdle() error {
	const line, much = 74, 512 << 10 // RFC 864
	time.Sleep(readLate)
	_ = c.SetReadDeadline(time.Now().Add(c.patience))
	b := make([]byte, much)
	n, err := io.ReadFull(c, b)
	for i := line - 1; i < n; i += line {
		if b[i] != '\n' {
			return fmt.Errorf("%s: read %q", c.socket, b[i-line+1:i+1])
		}
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return errEnded
	}
	return err
}

// ping waits for a payload and for an answer.
func (c *client) ping() error {
	_ = c.SetDeadline(time.Now().Add(c.patience))
	_, _ = c.Write([]byte("PING\n"))
	var got []byte
	b := make([]byte, 100)
	for !strings.Contains(string(got), "+PONG\r\n") || !strings.Contains(string(got), "ping\n") {
		n, err := c.Read(b)
		got = append(got, b[:n]...)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("%s: %w, after %q", c.socket, err, got)
		case err != nil:
			return errEnded
		}
	}
	return nil
}

// flooded is a client of echo that sends much before it reads. The daemon's queue
// for it gets full, and it reads and writes in turns.
func (c *client) flooded() error { return c.floods(bytes.Repeat([]byte("0123456789abcdef"), 32<<10)) }

// floods sends p, and reads it late.
func (c *client) floods(p []byte) error {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_ = c.SetWriteDeadline(time.Now().Add(c.patience))
		_, _ = c.Write(p)
	}()
	time.Sleep(readLate)
	err := c.expect(p)
	if err != nil {
		_ = c.Close()
	}
	<-sent
	return err
}
