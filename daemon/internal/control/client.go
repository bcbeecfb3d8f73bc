// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A Client is a connection to a daemon's control socket. It makes one call after the
// other. Its methods must not be called by several goroutines at once.
type Client struct {
	conn     Conn
	in       *bufio.Reader
	patience time.Duration
}

// A Conn carries the messages. A net.Conn is one, and an *os.File that the runtime polls.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// Dial connects to the socket at path, without package net, whose resolver would make the
// program larger by 0.35 MB. patience bounds the wait for a place in the
// socket's backlog, and for each reply of a call that is no stream; 0 is no bound. The
// error is that of connect(2), as an *fs.PathError.
func Dial(path string, patience time.Duration) (*Client, error) {
	conn, err := connect(path, patience)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", &os.PathError{Op: "connect", Path: path, Err: err})
	}
	return NewClient(conn, patience), nil
}

// connect blocks while the backlog is full (unix(7)), which a socket that does not block
// would report as an error. A signal interrupts a wait that has a bound, even with
// SA_RESTART (signal(7)).
func connect(path string, patience time.Duration) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	wait := unix.NsecToTimeval(patience.Nanoseconds())
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait)
	for again := err == nil; again; again = err == unix.EINTR {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// NewClient speaks through a connection that somebody else has opened, and owns it.
func NewClient(conn Conn, patience time.Duration) *Client {
	return &Client{conn: conn, in: bufio.NewReader(conn), patience: patience}
}

// Close ends the connection, and with it a stream that another goroutine waits for.
func (c *Client) Close() error { return c.conn.Close() }

// Call calls a method and stores the parameters of its reply where out points. in and
// out may be nil. An error of the daemon is an *Error.
func (c *Client) Call(method string, in, out any) error {
	if err := c.send(Call{Method: method}, in); err != nil {
		return err
	}
	r, err := c.receive(c.patience)
	if err == nil && r.Continues {
		err = errors.New("a second reply that nobody asked for")
	}
	if err == nil && out != nil {
		err = unmarshal(r.Parameters, out)
	}
	return wrap(method, err)
}

// Stream calls a method that has several replies. each is called with the parameters of
// each reply, until the last one, or until it returns an error, which Stream then returns;
// after that the connection is of no use. between bounds the wait for a reply; 0 is no
// bound.
func (c *Client) Stream(method string, in any, between time.Duration, each func(parameters json.RawMessage) error) error {
	if err := c.send(Call{Method: method, More: true}, in); err != nil {
		return err
	}
	for {
		r, err := c.receive(between)
		if err == nil {
			err = each(r.Parameters)
		}
		if err != nil || !r.Continues {
			return wrap(method, err)
		}
	}
}

// wrap adds the method to an error, but for one of the daemon, which says all.
func wrap(method string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return fmt.Errorf("%s: %w", method, err)
}

func (c *Client) send(call Call, in any) error {
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return wrap(call.Method, err)
		}
		call.Parameters = b
	}
	b, err := call.Encode()
	if err == nil && len(b) > LongestCall {
		err = fmt.Errorf("the call has more than %d bytes", LongestCall)
	}
	if err == nil {
		err = c.conn.SetWriteDeadline(deadline(c.patience))
	}
	if err == nil {
		_, err = c.conn.Write(b)
	}
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		if _, said := c.receive(c.patience); errors.Is(said, Refused("")) { // it has no place for us
			err = said
		}
	}
	return wrap(call.Method, err)
}

func deadline(patience time.Duration) time.Time {
	if patience == 0 {
		return time.Time{}
	}
	return time.Now().Add(patience)
}

func (c *Client) receive(patience time.Duration) (r Reply, err error) {
	if err := c.conn.SetReadDeadline(deadline(patience)); err != nil {
		return r, err
	}
	b, err := c.message()
	if err == nil {
		r, err = ParseReply(b)
	}
	if err == nil && r.Error != "" {
		err = &Error{Name: r.Error, Parameters: r.Parameters}
	}
	return r, err
}

// message returns the next message without its NUL. An end in the middle, or before it,
// is io.ErrUnexpectedEOF.
func (c *Client) message() (b []byte, err error) {
	for {
		part, err := c.in.ReadSlice(0)
		if b = append(b, part...); len(b) > LongestReply {
			return nil, fmt.Errorf("a reply of more than %d bytes", LongestReply)
		}
		switch err {
		case nil:
			return b[:len(b)-1], nil
		case bufio.ErrBufferFull:
		case io.EOF:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err
		}
	}
}

// unmarshal stores parameters where out points.
func unmarshal(parameters json.RawMessage, out any) error {
	if parameters == nil {
		parameters = json.RawMessage("{}")
	}
	return json.Unmarshal(parameters, out)
}
