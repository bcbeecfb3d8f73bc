// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A server may speak WebSocket (RFC 6455) with its clients, as websocketd does. The clients
// say and hear the lines of the other servers as text messages. Key and mask are the same
// for all, those of the RFC's examples, so that what a client says and hears is a constant
// as in the other modes: a library of the protocol would cost the load more, and check less.
// The server unmasks as it would with a random mask.
//
// A visit costs one round trip more than with a plain connection, since no client may send
// before the handshake is over. It ends without a close frame, as when a browser is killed.

const (
	handshake = "GET / HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	// switching is websocketd's answer, whole. The RFC would leave it more fields, in any
	// order; a server that writes them needs its own constant.
	switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)

// longestFrame is how much one byte of length can tell.
const longestFrame = 125

var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// overWebSocket is run with a server that speaks WebSocket.
func overWebSocket(o Options) (Result, error) {
	switch o.Mode {
	case ExecPipes:
		text := []byte(Question)
		return churn(o, turn{[]byte(handshake), []byte(switching)}, turn{fromClient(text), fromServer(text)})
	case ExecEcho:
		text := bytes.TrimSuffix(pattern(o.Size), []byte("\n")) // the program gets the line with its end
		if len(text) > longestFrame {
			return Result{}, fmt.Errorf("a message of %d bytes: the longest here has %d", len(text), longestFrame)
		}
		return exchange(o, fromClient(text), fromServer(text))
	}
	return Result{}, errors.New("not over WebSocket")
}

// fromServer returns a text message in one frame.
func fromServer(text []byte) []byte {
	const finalText = 0x81
	return append([]byte{finalText, byte(len(text))}, text...)
}

// fromClient is fromServer with the mask that a client must use.
func fromClient(text []byte) []byte {
	const masked = 0x80
	frame := fromServer(nil)
	frame[1] = masked | byte(len(text))
	frame = append(frame, mask[:]...)
	for i, b := range text {
		frame = append(frame, b^mask[i%len(mask)])
	}
	return frame
}

// upgrade makes a new connection one of WebSocket. It blocks until the server has answered.
func upgrade(fd int) error {
	if n, err := send(fd, []byte(handshake)); err != nil || n != len(handshake) {
		return errors.Join(errors.New("no room for a handshake on a new connection"), err)
	}
	buf := make([]byte, len(switching))
	for got := 0; got < len(switching); {
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		n, err := receive(fd, buf)
		if err != nil {
			return err
		}
		if string(buf[:n]) != switching[got:min(got+n, len(switching))] {
			return fmt.Errorf("the answer to a handshake differs from what was expected: %q", buf[:n])
		}
		got += n
	}
	return nil
}
