// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestFrames: the first two are the examples of RFC 6455, section 5.7.
func TestFrames(t *testing.T) {
	longest := strings.Repeat("x", longestFrame)
	tests := []struct {
		name, text string
		frame      func([]byte) []byte
		want       string
	}{
		{"server", "Hello", fromServer, "\x81\x05Hello"},
		{"client", "Hello", fromClient, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{"server, nothing", "", fromServer, "\x81\x00"},
		{"client, nothing", "", fromClient, "\x81\x80\x37\xfa\x21\x3d"},
		{"server, longest", longest, fromServer, "\x81\x7d" + longest},
		{"client, longest", longest, fromClient, "\x81\xfd\x37\xfa\x21\x3d" + strings.Repeat("\x4f\x82\x59\x45", 31) + "\x4f"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.frame([]byte(tt.text)); string(got) != tt.want {
				t.Errorf("frame of %q = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

// webSocket returns a server that says each message back, what change has made of it. Its
// frames come in two pieces, as do its answers to handshakes.
func webSocket(change func([]byte) []byte) func(net.Conn) {
	return func(c net.Conn) {
		r := bufio.NewReader(c)
		q, err := http.ReadRequest(r)
		if err != nil || q.Header.Get("Upgrade") != "websocket" || q.Header.Get("Sec-WebSocket-Version") != "13" {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			return
		}
		sum := sha1.Sum([]byte(q.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n")
		fmt.Fprintf(c, "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(sum[:]))
		for {
			head := make([]byte, 6)
			if _, err := io.ReadFull(r, head); err != nil || head[0] != 0x81 || head[1] < 0x80 {
				return
			}
			text := make([]byte, head[1]&0x7f)
			if _, err := io.ReadFull(r, text); err != nil {
				return
			}
			for i := range text {
				text[i] ^= head[2+i%4]
			}
			text = change(text)
			c.Write([]byte{0x81})
			c.Write(append([]byte{byte(len(text))}, text...))
		}
	}
}

func TestWebSocket(t *testing.T) {
	same := func(text []byte) []byte { return text }
	none := func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 403 Forbidden\r\n\r\n")
	}
	tests := []struct {
		name  string
		o     Options
		serve func(net.Conn)
		fault string // "": none
	}{
		{"churn", Options{Mode: ExecPipes}, webSocket(same), ""},
		{"echo", Options{Mode: ExecEcho, Size: 64}, webSocket(same), ""},
		{"churn, wrong answer", Options{Mode: ExecPipes}, webSocket(bytes.ToUpper), "differs"},
		{"echo, wrong answer", Options{Mode: ExecEcho, Size: 64}, webSocket(bytes.ToUpper), "differs"},
		{"churn, refused", Options{Mode: ExecPipes}, none, "differs"},
		{"echo, refused", Options{Mode: ExecEcho, Size: 64}, none, "differs"},
		{"too long", Options{Mode: ExecEcho, Size: longestFrame + 2}, webSocket(same), "the longest"},
		{"another mode", Options{Mode: Room}, webSocket(same), "not over WebSocket"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.o.Network, tt.o.Conns, tt.o.Pipeline, tt.o.WebSocket = "tcp", 5, 1, true
			tt.o.Window = 100 * time.Millisecond
			if tt.fault != "" {
				tt.o.Window = 10 * time.Second
			}
			tt.o.Address = serve(t, tt.o.Network, tt.serve)
			r, err := Run(tt.o)
			if tt.fault == "" && (err != nil || r.Ops == 0) {
				t.Errorf("Run = %+v, %v", r, err)
			}
			if tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
				t.Errorf("Run = %v, want an error about %q", err, tt.fault)
			}
		})
	}
}
