// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bytes"
	"encoding/json"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"penstock/evloop/evlooptest"
)

// TestParseCall: a call is taken as it is written, and nothing that is nearly one.
func TestParseCall(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Call
	}{
		{`{"method":"a.b.C"}`, Call{Method: "a.b.C"}},
		{`{"method":"a.b.C","parameters":{"x":1}}`, Call{Method: "a.b.C", Parameters: json.RawMessage(`{"x":1}`)}},
		{`{"method":"a.b.C","parameters":null,"more":true}`, Call{Method: "a.b.C", More: true}},
		{` {"oneway":true, "upgrade":true, "method":"org.varlink.service.GetInfo"} `, Call{Method: "org.varlink.service.GetInfo", OneWay: true, Upgrade: true}},
		{`{"Method":"a.b.C"}`, Call{}},
		{`{"method":"a.b.C","method":"a.b.D"}`, Call{}},
		{`{"method":"a.b.C","extra":1}`, Call{}},
		{`{"method":"a.b.C","parameters":[1]}`, Call{}},
		{`{"method":"a.b.C","more":1}`, Call{}},
		{`{"method":"a.b.C"}x`, Call{}},
		{`{"method":"a.b.C"`, Call{}},
		{`{"method":"C"}`, Call{}},
		{`{"method":"a..C"}`, Call{}},
		{`{"method":"a.b.C\u0000"}`, Call{}},
		{`{}`, Call{}},
		{`[]`, Call{}},
		{``, Call{}},
	} {
		got, err := ParseCall([]byte(tt.text))
		if !reflect.DeepEqual(got, tt.want) || (err == nil) != (tt.want.Method != "") {
			t.Errorf("%s: %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
	}
}

// TestDecode: parameters that are not known, or have a wrong value, are named.
func TestDecode(t *testing.T) {
	for _, tt := range []struct{ text, wrong string }{
		{``, ""},
		{`{}`, ""},
		{`{"service":"x","id":7}`, ""},
		{`{"service":null}`, ""},
		{`{"Service":"x"}`, "Service"},
		{`{"service":7}`, "service"},
		{`{"id":-1}`, "id"},
		{`{"id":1.5}`, "id"},
		{`{"id":1,"id":2}`, "id"},
		{`{"id":null,"id":2}`, "id"},
	} {
		var text json.RawMessage
		if tt.text != "" {
			text = json.RawMessage(tt.text)
		}
		var name string
		var id uint64
		err := Decode(text, map[string]any{"service": &name, "id": &id})
		want := ""
		if tt.wrong != "" {
			want = InvalidParameter(tt.wrong).Error()
		}
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", tt.text, got, want)
		}
	}
}

// TestDecodeRequired: what is required and missing, or null, is named.
func TestDecodeRequired(t *testing.T) {
	for text, wrong := range map[string]string{
		``: "service", `{}`: "service", `{"names":[]}`: "service", `{"service":null,"names":[]}`: "service",
		`{"service":""}`: "names", `{"service":"","names":null}`: "names", `{"service":"","names":[]}`: "",
	} {
		var name string
		var names []string
		var parameters json.RawMessage // nil: there are none
		if text != "" {
			parameters = json.RawMessage(text)
		}
		err := Decode(parameters, map[string]any{"service": &name, "names": &names}, "service", "names")
		if got := err != nil; got != (wrong != "") || got && err.Error() != InvalidParameter(wrong).Error() {
			t.Errorf("%s: %v, want that %q is named", text, err, wrong)
		}
	}
}

// FuzzParseCall: what is taken is written as the same call again, and no bytes can do
// harm.
func FuzzParseCall(f *testing.F) {
	f.Add([]byte(`{"method":"a.b.C","parameters":{"x":[1,{"y":null}]},"more":true}`))
	f.Add([]byte(`{"method":"a.b.C","parameters":null}`))
	f.Add([]byte(`{"method":"` + strings.Repeat("a.", 100) + `C"}`))
	f.Add([]byte(strings.Repeat("[", 20000)))
	f.Add([]byte(`{"method":"a.b.C","parameters":{"x":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := ParseCall(text)
		if err != nil {
			return
		}
		var service string
		_ = Decode(c.Parameters, map[string]any{"service": &service})
		b, err := c.Encode()
		if err != nil {
			t.Fatalf("%q was taken, and cannot be written: %v", text, err)
		}
		if i := bytes.IndexByte(b, 0); i != len(b)-1 {
			t.Fatalf("%q has a NUL at %d of %d", b, i, len(b))
		}
		again, err := ParseCall(b[:len(b)-1])
		if err != nil || again.Method != c.Method || again.More != c.More || again.OneWay != c.OneWay {
			t.Fatalf("%q became %q: %v", text, b, err)
		}
	})
}

// serve answers each call on the other end of a Client with what reply returns.
func serve(t *testing.T, reply func(Call) string) *Client {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	go func() {
		defer theirs.Close()
		c := NewClient(theirs, evlooptest.Patience)
		for {
			b, err := c.message()
			if err != nil {
				return
			}
			call, err := ParseCall(b)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := theirs.Write([]byte(reply(call))); err != nil {
				return
			}
		}
	}()
	return NewClient(ours, evlooptest.Patience)
}

// TestClient: a reply, an error and a stream come out as they went in; what is no reply
// is an error, and not awaited for ever.
func TestClient(t *testing.T) {
	c := serve(t, func(call Call) string {
		switch call.Method {
		case "t.T.Good":
			return `{"parameters":{"services":[{"name":"x"}]}}` + "\x00"
		case "t.T.Error":
			return `{"error":"t.T.Bad","parameters":{"reason":"no"}}` + "\x00"
		case "t.T.Many":
			return `{"parameters":{"n":1},"continues":true}` + "\x00" + `{"parameters":{"n":2}}` + "\x00"
		case "t.T.Two":
			return `{"continues":true}` + "\x00"
		}
		return "what?\x00"
	})
	var got Services
	if err := c.Call("t.T.Good", ServiceFilter{}, &got); err != nil || len(got.Services) != 1 || got.Services[0].Name != "x" {
		t.Errorf("Call = %v, %v", got, err)
	}
	if err := c.Call("t.T.Error", nil, nil); err == nil || err.Error() != "t.T.Bad: no" {
		t.Errorf("the error is %v", err)
	}
	var seen []string
	err := c.Stream("t.T.Many", nil, time.Minute, func(p json.RawMessage) error {
		seen = append(seen, string(p))
		return nil
	})
	if err != nil || !reflect.DeepEqual(seen, []string{`{"n":1}`, `{"n":2}`}) {
		t.Errorf("Stream gave %v, %v", seen, err)
	}
	if err := c.Call("t.T.Two", nil, nil); err == nil {
		t.Error("a call had two replies, and nobody minds")
	}
	if err := c.Call("t.T.Else", nil, nil); err == nil || !strings.Contains(err.Error(), "t.T.Else: ") {
		t.Errorf("what is no reply is %v", err)
	}
}
