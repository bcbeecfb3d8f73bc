// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Clients as the tutorials describe them, written anew from what goes over the
// wire. Each knows only its own side.

// recv reads whatever one recv(2) returns.
func (c *testClient) recv(n int) string {
	c.t.Helper()
	b := make([]byte, n)
	c.conn.SetReadDeadline(time.Now().Add(patience))
	k, err := c.conn.Read(b)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b[:k])
}

// The Lancelot client reads until a full stop, three times, and closes. The
// load test does so ten times on one connection, and a connection is not held
// up by one that has asked half a question.
func TestTutorialLancelot(t *testing.T) {
	r := serve(t, lancelot)
	half := r.dial()
	half.send("What is")
	c := r.dial()
	ask := func(q string) string {
		c.send(q)
		for s := ""; ; {
			if s += c.recv(4096); strings.HasSuffix(s, ".") {
				return s
			}
		}
	}
	for range 10 {
		for _, qa := range [][2]string{
			{"What is your name?", "My name is Sir Lancelot of Camelot."},
			{"What is your quest?", "To seek the Holy Grail."},
			{"What is your favorite color?", "Blue."},
		} {
			if got := ask(qa[0]); got != qa[1] {
				t.Fatalf("%s %q, want %q", qa[0], got, qa[1])
			}
		}
	}
}

// The third edition asks about aphorisms, by the same rules.
func TestTutorialZen(t *testing.T) {
	c := serve(t, `kind="lookup"
delimiter="?"
default="Error: unknown aphorism."
[service.x.answers]
"Beautiful is better than?" = "Ugly."
"Explicit is better than?" = "Implicit."
"Simple is better than?" = "Complex."
`).dial()
	for _, qa := range [][2]string{
		{"Beautiful is better than?", "Ugly."},
		{"Simple is better than?", "Complex."},
		{"Flat is better than?", "Error: unknown aphorism."},
	} {
		c.send(qa[0])
		c.want(qa[1])
	}
}

// The queue echo client sends two messages and reads each in pieces.
func TestTutorialQueueEcho(t *testing.T) {
	r := serve(t, `kind="echo"`)
	clients := []*testClient{r.dial(), r.dial()}
	for _, m := range []string{"This is the message. ", "It will be sent ", "in parts."} {
		for _, c := range clients {
			c.send(m)
		}
		for _, c := range clients {
			c.want(m)
		}
	}
}

// The epoll client of the ping server sends words without any line end, for
// ever, and prints what it gets.
func TestTutorialPing(t *testing.T) {
	r := serve(t, "kind=\"ticker\"\npayload=\"ping\"\ninterval=\"10ms\"")
	c := r.dial()
	for range 5 {
		c.send(strings.Repeat("pong", 1000)) // more than a line may hold
		if got := c.recv(1024); !strings.HasPrefix(got, "ping") {
			t.Fatalf("got %q", got)
		}
	}
}

// The number game of the select server sends words and takes what one recv
// returns for the answer.
func TestTutorialHandleRequest(t *testing.T) {
	r := serveProgram(t, "delimiter=\"\"")
	a, b := r.dial(), r.dial()
	for i := range 5 {
		for _, c := range []*testClient{a, b} {
			guess := fmt.Sprint(50 + i)
			c.send(guess)
			if got := c.recv(1024); got != guess {
				t.Fatalf("got %q, want %q", got, guess)
			}
		}
	}
}

// The Twisted client is a LineReceiver: CRLF out; what comes in is text.
func TestTutorialTwistedChat(t *testing.T) {
	r := serve(t, "kind=\"room\"\npreset=\"twisted\"")
	a, b := r.dial(), r.dial()
	a.want("Welcome to the chat server, " + addr1 + "\n")
	b.want("Welcome to the chat server, " + addr2 + "\n")
	for _, part := range strings.SplitAfter("hello\r\n", "") { // typed slowly
		a.send(part)
	}
	a.want(addr1 + ": hello\n")
	b.want(addr1 + ": hello\n")
	a.conn.Close()
	r.wantEnd(nil)
	b.send("anybody?\r\n")
	b.want(addr2 + ": anybody?\n") // the other has left without a word
}

// The select-chat client says its name, learns its address, and shows what
// others say.
func TestTutorialSelectChat(t *testing.T) {
	r := serve(t, "kind=\"room\"\npreset=\"select-chat\"")
	login := func(name string) (*testClient, string) {
		c := r.dial()
		c.send("NAME: " + name + "\n")
		var got bytes.Buffer
		for !bytes.HasSuffix(got.Bytes(), []byte("\n")) {
			got.WriteString(c.recv(1))
		}
		_, addr, ok := strings.Cut(strings.TrimSpace(got.String()), "CLIENT: ")
		if !ok {
			t.Fatalf("got %q", got.String())
		}
		return c, addr
	}
	silent := r.dial() // says no name: stopped the tutorial's server
	bob, host := login("bob")
	al, _ := login("al")
	bob.want("(Connected: New client (2) from al@" + host + ")\n")
	bob.send("hi\n")
	al.want("#[bob@" + host + "]>> hi\n")
	bob.conn.Close()
	al.want("(Hung up: Client from bob@" + host + ")\n")
	silent.shut()
	silent.wantEOF() // and heard nothing of it
}
