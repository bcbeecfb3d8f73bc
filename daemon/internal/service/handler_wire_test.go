// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
	"unicode/utf8"
)

func TestEventLine(t *testing.T) {
	tests := []struct {
		what, data, want string
	}{
		{eventOpen, "", `{"conn":7,"event":"open","service":"x","peer":"192.0.2.1:4000"}`},
		{eventMessage, "hello", `{"conn":7,"event":"message","service":"x","peer":"192.0.2.1:4000","data":"hello"}`},
		{eventMessage, "", `{"conn":7,"event":"message","service":"x","peer":"192.0.2.1:4000","data":""}`},
		{eventMessage, "a\"\n<ü>", `{"conn":7,"event":"message","service":"x","peer":"192.0.2.1:4000","data":"a\"\n<ü>"}`},
		{eventMessage, "\xff\x00", `{"conn":7,"event":"message","service":"x","peer":"192.0.2.1:4000","base64":"/wA="}`},
		{eventClose, "", `{"conn":7,"event":"close","service":"x","peer":"192.0.2.1:4000"}`},
	}
	enc := newEncoder()
	for _, tt := range tests {
		ev := event{Conn: 7, Event: tt.what, Service: "x", Peer: "192.0.2.1:4000"}
		if tt.what == eventMessage {
			ev.setData([]byte(tt.data))
		}
		if got := string(enc.line(&ev)); got != tt.want+"\n" {
			t.Errorf("got  %swant %s", got, tt.want)
		}
	}
}

func TestDecodeReply(t *testing.T) {
	seven := func(data string, end bool) reply {
		return reply{addressed: true, conn: 7, data: []byte(data), close: end}
	}
	tests := []struct {
		in   string
		want reply
	}{
		{`{"conn":7,"data":"hello"}`, seven("hello", false)},
		{`  {"conn":7,"data":"hello"}` + "\r", seven("hello", false)},
		{`{"conn":7,"data":""}`, seven("", false)}, // settles what is due, says nothing
		{`{"conn":7,"base64":"/wA="}`, seven("\xff\x00", false)},
		{`{"conn":7,"data":"bye","close":true}`, seven("bye", true)},
		{`{"conn":7,"close":true}`, reply{addressed: true, conn: 7, close: true}},
		{`{"data":"all"}`, reply{data: []byte("all")}},
		{`{"conn":9007199254740991,"data":""}`, reply{addressed: true, conn: 1<<53 - 1, data: []byte{}}},
		{`{"conn":7,"event":"message","service":"x","peer":"p","data":"an echo"}`, seven("an echo", false)},
		// Names are exact: a member of the program's own does not end the connection.
		{`{"conn":7,"data":"x","Close":true,"CLOſE":true,"DATA":"y","BASE64":"?"}`, seven("x", false)},
		{`{"conn":7,"conn":8,"data":null,"base64":"","close":null}`, reply{addressed: true, conn: 8, data: []byte{}}},
	}
	for _, tt := range tests {
		got, err := decodeReply([]byte(tt.in))
		if err != nil || got.addressed != tt.want.addressed || got.conn != tt.want.conn ||
			got.close != tt.want.close || !bytes.Equal(got.data, tt.want.data) || (got.data == nil) != (tt.want.data == nil) {
			t.Errorf("%s: got %+v (%v), want %+v", tt.in, got, err, tt.want)
		}
	}
}

func TestDecodeReplyRefuses(t *testing.T) {
	for _, in := range []string{
		"", "hello", `[1]`, `"x"`, `null`, `{`, `{}`, `{"conn":7}`, `{"conn":7,"close":false}`,
		`{"conn":"7","data":"x"}`, `{"conn":-1,"data":"x"}`, `{"conn":7.5,"data":"x"}`,
		`{"conn":null,"data":"not for everybody"}`, `{"conn":7,"data":5}`, `{"conn":7,"data":"a","base64":"/wA="}`,
		`{"conn":7,"base64":"?"}`, `{"close":true}`, `{"conn":7,"close":"yes"}`, `{"conn":7,"data":"x"} {}`,
		"{\"conn\":7,\"data\":\"\xff\"}",
		`{"conn":7.0,"data":"x"}`, `{"conn":7e0,"data":"x"}`, `{"conn":18446744073709551616,"data":"x"}`,
		`{"Conn":7,"data":"not for everybody"}`, `{"CONN":7,"data":"x"}`,
	} {
		if got, err := decodeReply([]byte(in)); err == nil {
			t.Errorf("%s: got %+v, want an error", in, got)
		}
	}
}

// FuzzDecodeReply checks that whatever a program prints is either refused or
// means one thing: written again it decodes to the same.
func FuzzDecodeReply(f *testing.F) {
	f.Add([]byte(`{"conn":7,"data":"hello"}`))
	f.Add([]byte(`{"conn":null,"data":"x"}`))
	f.Add([]byte(`{"CONN":1,"conn":2,"base64":"/wA=","close":true}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := decodeReply(in)
		if err != nil {
			return
		}
		if r.data == nil && !r.close || r.close && !r.addressed {
			t.Fatalf("%q: %+v means nothing", in, r)
		}
		out := map[string]any{"close": r.close}
		if r.addressed {
			out["conn"] = r.conn
		}
		if r.data != nil {
			out["base64"] = r.data
		}
		line, err := json.Marshal(out)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeReply(line)
		if err != nil || again.addressed != r.addressed || again.conn != r.conn || again.close != r.close || !bytes.Equal(again.data, r.data) {
			t.Errorf("%q: %+v, again %+v (%v)", in, r, again, err)
		}
	})
}

// FuzzEvent checks that every message reaches the program whole, as one line.
func FuzzEvent(f *testing.F) {
	f.Add([]byte("hello\n"))
	f.Add([]byte("\xff\xfe"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ev := event{Conn: 1, Event: eventMessage, Service: "x", Peer: "p"}
		ev.setData(data)
		line := newEncoder().line(&ev)
		if bytes.IndexByte(line, '\n') != len(line)-1 || !utf8.Valid(line) {
			t.Fatalf("%q is not one line of UTF-8", line)
		}
		var got struct {
			Data   *string
			Base64 []byte
		}
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatal(err)
		}
		text := got.Base64
		if got.Data != nil {
			text = []byte(*got.Data)
		}
		if !bytes.Equal(text, data) {
			t.Errorf("sent %q, the program reads %q", data, text)
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	enc, data := newEncoder(), []byte("a line of forty bytes, as people type...")
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		ev := event{Conn: 7, Event: eventMessage, Service: "x", Peer: "192.0.2.1:4000"}
		ev.setData(data)
		if len(enc.line(&ev)) < len(data) {
			b.Fatal("short")
		}
	}
}

func BenchmarkDecodeReply(b *testing.B) {
	line := []byte(`{"conn":7,"data":"a line of forty bytes, as people type..."}`)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := decodeReply(line); errors.Is(err, errNothing) || r.conn != 7 {
			b.Fatal(err)
		}
	}
}
