// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A client speaks to one service and knows every byte that it should read.
type client struct {
	net.Conn
	socket   string
	rounds   int
	patience time.Duration
	since    time.Time // before it connected
}

// errEnded says that the server ended a client, which had read nothing wrong
// until then.
var errEnded = errors.New("ended by the server")

// A wrongError says that what a client has read is not what it should be.
type wrongError string

func (e wrongError) Error() string { return string(e) }

// dial connects and reads what a newcomer is told.
func (h *host) dial(socket string) (*client, error) { return h.dialFor(socket, patience) }

// dialFor is dial for a client that waits no longer than that for anything.
func (h *host) dialFor(socket string, patience time.Duration) (*client, error) {
	a, since := h.at[socket], time.Now()
	conn, err := net.DialTimeout(a.Network(), a.String(), patience)
	if errors.Is(err, unix.ECONNRESET) { // before Dial has looked at the connection
		return nil, errEnded
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	c := &client{Conn: conn, socket: socket, patience: patience, since: since}
	if socket == "room" {
		err = c.expect([]byte("welcome\n"))
	}
	return c, err
}

// service is that to which the socket belongs.
func (c *client) service() string { return strings.TrimSuffix(c.socket, "-unix") }

// request returns something to send and the reply to it.
func (c *client) request() (out, in []byte) {
	c.rounds++
	token := fmt.Sprintf("round %4d", c.rounds)
	switch c.socket {
	case "lookup":
		return []byte("who?"), []byte("Arthur, King of the Britons")
	case "room":
		return []byte(token + "\n"), []byte(token + "\n")
	case "handler":
		return []byte(token + "\n"), []byte(token)
	}
	size := []int{1, 100, 3000, 70000}[c.rounds%4]
	p := bytes.Repeat([]byte(token), size/len(token)+1)
	return p, p
}

// round sends a request and reads the whole reply.
func (c *client) round() error {
	out, in := c.request()
	sent := make(chan error, 1)
	go func() {
		_ = c.SetWriteDeadline(time.Now().Add(c.patience))
		_, err := c.Write(out)
		sent <- err
	}()
	err := c.expect(in)
	if err != nil {
		_ = c.Close() // the sender need not wait
	}
	<-sent
	return err
}

// expect reads exactly p.
func (c *client) expect(p []byte) error {
	got := make([]byte, len(p))
	_ = c.SetReadDeadline(time.Now().Add(c.patience))
	n, err := io.ReadFull(c, got)
	switch {
	case c.socket == "handler" && n > 0 && bytes.HasPrefix([]byte("failed"), got[:min(n, 6)]):
		return errEnded // the program has died, and the client was told
	case !bytes.Equal(got[:n], p[:n]):
		return wrongError(fmt.Sprintf("%s: read %.40q, not %.40q, in round %d", c.socket, got[:n], p, c.rounds))
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return errEnded
	}
	return fmt.Errorf("%s: %w, after %d of %d bytes in round %d", c.socket, err, n, len(p), c.rounds)
}

// finish says that no more will come, and waits for the server to agree.
func (c *client) finish() error {
	defer c.Close()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return errEnded
	}
	_ = c.SetReadDeadline(time.Now().Add(c.patience))
	if b, err := io.ReadAll(c); err != nil && !errors.Is(err, unix.ECONNRESET) {
		return fmt.Errorf("%s: no end: %w", c.socket, err)
	} else if len(b) > 0 {
		return fmt.Errorf("%s: read %.40q behind the last reply", c.socket, b)
	}
	return nil
}

// sockets are those of the services, in the order in which they are tried.
var sockets = []string{"echo", "echo-unix", "lookup", "room", "handler"}

// serves fails unless every service, but for those named, serves a newcomer in
// full.
func (h *host) serves(but ...string) {
	h.t.Helper()
	for _, s := range sockets {
		if slices.Contains(but, s) {
			continue
		}
		if err := h.visit(s); err != nil {
			h.t.Errorf("not served any more: %v", err)
		}
	}
}

// visit is the whole stay of one client.
func (h *host) visit(socket string) error {
	c, err := h.dial(socket)
	if err != nil {
		return err
	}
	return c.visit()
}

func (c *client) visit() error {
	defer c.Close()
	for range 4 {
		if err := c.round(); err != nil {
			return fmt.Errorf("%s: %w", c.socket, err)
		}
	}
	return c.finish()
}
