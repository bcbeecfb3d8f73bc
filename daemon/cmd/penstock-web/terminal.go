// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// A terminal makes a browser a client of a service, beside those that came by its port:
//
//	browser ── WebSocket ── terminal ── control socket, Connect ── service
//	                                    with the browser's address
//
// The daemon lets the browser in or not, as it does with others, and logs its address.
//
// A WebSocket has messages and a connection has bytes. There are two ways to map them:
//
//	/ws/NAME         text: a message is a line. It gets the service's delimiter, unless it
//	                 ends in it, and what the service sends comes line by line, without
//	                 their ends. That is what websocketd does, and its clients work.
//	/ws/NAME?binary  bytes as they come, in pieces that mean nothing.
//
// A binary message of the browser is passed on as it is in both.

const (
	// mostTerminals is how many there are at once. Each holds a few kilobytes here, and a
	// client's place in the daemon.
	mostTerminals = 64
	// longestMessage is what a browser may send in one message.
	longestMessage = 64 << 10
	// pingEvery finds out that a browser is gone that has not said so.
	pingEvery    = 30 * time.Second
	pingPatience = 10 * time.Second
	// promptAfter is the time after which the beginning of a line is sent without its end:
	// it is most likely a question.
	promptAfter = 50 * time.Millisecond
)

// terminal is the way of one browser.
func (s *site) terminal(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("service")
	if !slices.Contains(s.web.Services, name) {
		http.Error(w, "this service is not in services of [web]", http.StatusNotFound)
		return
	}
	select {
	case s.terminals <- struct{}{}:
		defer func() { <-s.terminals }()
	default:
		http.Error(w, "too many terminals are open", http.StatusServiceUnavailable)
		return
	}
	if wrong := badHandshake(r); wrong != "" { // before a client comes and goes, and is logged
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, "this address is for a WebSocket: "+wrong, http.StatusUpgradeRequired)
		return
	}
	s.lasting.Add(1)
	defer s.lasting.Done()
	defer s.idle.hold()()
	conn, err := s.connect(name, peerOf(r))
	if err != nil {
		status, text := refusal(err)
		s.log.warn("terminal refused", slog.String("service", name), slog.String("peer", peerOf(r).String()), slog.Any("err", err))
		http.Error(w, text, status)
		return
	}
	defer conn.Close()
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it was answered
	}
	defer ws.CloseNow() // after Close nothing
	ws.SetReadLimit(longestMessage)
	_, raw := r.URL.Query()["binary"]
	t := &line{ws: ws, conn: conn, end: s.ends[name], raw: raw}
	t.run(s.ending)
}

// badHandshake says what a request lacks to be the beginning of a WebSocket (RFC 6455,
// section 4.2.1).
func badHandshake(r *http.Request) string {
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key"))
	switch {
	case r.Method != http.MethodGet:
		return "method " + r.Method
	case !hasToken(r.Header, "Connection", "upgrade"), !hasToken(r.Header, "Upgrade", "websocket"):
		return "no upgrade"
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		return "another version"
	case err != nil, len(key) != 16, len(r.Header["Sec-Websocket-Key"]) != 1:
		return "no key"
	}
	return ""
}

// hasToken reports whether a word is in the list of a header.
func hasToken(h http.Header, name, word string) bool {
	for token := range strings.SplitSeq(strings.Join(h.Values(name), ","), ",") {
		if strings.EqualFold(strings.TrimSpace(token), word) {
			return true
		}
	}
	return false
}

// connect makes a client of a service.
func (s *site) connect(service string, peer view.Peer) (control.Conn, error) {
	client, err := control.Dial(s.source.path(), patience) // it may start the daemon: a client is a reason
	if err != nil {
		return nil, err
	}
	announced := "" // a user of this machine, of whom no more can be said
	if peer.Addr.IsValid() {
		announced = peer.Addr.String()
	}
	conn, err := client.Connect(service, announced)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	return conn, nil
}

// refusal says why the daemon has not let a browser in.
func refusal(err error) (status int, text string) {
	if word, ok := control.Reason(err); ok {
		text = "refused: " + word
		if more := reasons[word]; more != "" {
			text += " (" + more + ")"
		}
		return http.StatusForbidden, text
	}
	if e, ok := errors.AsType[*control.Error](err); ok {
		return http.StatusForbidden, control.ShortName(e.Name)
	}
	return http.StatusBadGateway, "the daemon does not answer"
}

// A line joins a WebSocket and a connection.
type line struct {
	ws   *websocket.Conn
	conn control.Conn
	end  string // what ends a message of the service; "": nothing does
	raw  bool
}

// run passes bytes both ways until one side ends, or until ending is done.
func (t *line) run(ending context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	why := "the service has closed the connection"
	code := websocket.StatusNormalClosure
	stop := context.AfterFunc(ending, func() { _ = t.conn.Close() }) // ends the way down
	defer stop()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		t.up(ctx)
		_ = t.conn.Close() // ends the way down
	}()
	go t.ping(ctx)
	t.down(ctx)
	if ending.Err() != nil {
		code, why = websocket.StatusGoingAway, "the server of this page ends"
	}
	_ = t.ws.Close(code, why)
	cancel()
	_ = t.conn.Close() // up may wait for a service that takes nothing
	<-gone
}

// up passes on what the browser sends.
func (t *line) up(ctx context.Context) {
	for {
		kind, p, err := t.ws.Read(ctx)
		if err != nil {
			return
		}
		if kind == websocket.MessageText && !t.raw && t.end != "" && !bytes.HasSuffix(p, []byte(t.end)) {
			p = append(p, t.end...)
		}
		if _, err := t.conn.Write(p); err != nil {
			return
		}
	}
}

// ping ends the terminal when the browser does not answer.
func (t *line) ping(ctx context.Context) {
	ticker := time.NewTicker(pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		wait, cancel := context.WithTimeout(ctx, pingPatience)
		err := t.ws.Ping(wait)
		cancel()
		if err != nil {
			_ = t.ws.CloseNow()
			_ = t.conn.Close()
			return
		}
	}
}

// down passes on what the service sends.
func (t *line) down(ctx context.Context) {
	buf := make([]byte, 32<<10)
	var rest []byte // the beginning of a line
	for {
		n, err := t.conn.Read(buf)
		if t.raw {
			if n > 0 && t.write(ctx, websocket.MessageBinary, buf[:n]) != nil {
				return
			}
		} else {
			rest = append(rest, buf[:n]...)
			prompt := err != nil || len(rest) > longestMessage
			if rest, err = t.lines(ctx, rest, prompt, err); err == nil {
				continue
			}
		}
		if err != nil {
			return
		}
	}
}

// lines sends the whole lines of p, and also the beginning of one if that has waited. It
// returns what is left. readErr is how the reading of p ended.
func (t *line) lines(ctx context.Context, p []byte, prompt bool, readErr error) (rest []byte, err error) {
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			break
		}
		if err := t.text(ctx, bytes.TrimSuffix(p[:i], []byte("\r"))); err != nil {
			return nil, err
		}
		p = p[i+1:]
	}
	if prompt && len(p) > 0 {
		if err := t.text(ctx, p); err != nil {
			return nil, err
		}
		p = nil
	}
	if readErr != nil && !errors.Is(readErr, os.ErrDeadlineExceeded) {
		return nil, readErr
	}
	var until time.Time // no end
	if len(p) > 0 {
		until = time.Now().Add(promptAfter)
	}
	return bytes.Clone(p), t.conn.SetReadDeadline(until)
}

func (t *line) text(ctx context.Context, p []byte) error {
	return t.write(ctx, websocket.MessageText, bytes.ToValidUTF8(p, []byte("\ufffd")))
}

func (t *line) write(ctx context.Context, kind websocket.MessageType, p []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	return t.ws.Write(ctx, kind, p)
}
