// SPDX-License-Identifier: Apache-2.0

package telnet

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

// all returns the items of p in words, as far as they are whole, and the rest.
func all(p []byte) (items []string, data, rest []byte) {
	for {
		i, n := Next(p)
		switch p = p[n:]; i.Verb {
		case None:
			return items, data, p
		case Data:
			data = append(data, i.Bytes...)
			continue
		}
		items = append(items, fmt.Sprintf("%d:%d,%d,%v", len(data), i.Verb, i.Which|i.Option, i.Bytes))
	}
}

// TestNext: escapes are told from data, and what is not whole waits.
func TestNext(t *testing.T) {
	for in, want := range map[string]string{
		"":                             `[] "" ""`,
		"plain":                        `[] "plain" ""`,
		"a\xff\xffb":                   `[] "a\xffb" ""`,
		"a\xff":                        `[] "a" "\xff"`,
		"a\xff\xfb":                    `[] "a" "\xff\xfb"`,
		"a\xff\xfb\x2cb":               `[1:2,255,[]] "ab" ""`,
		"\xff\xf3x":                    `[0:4,243,[]] "x" ""`,
		"\xff\xfa\x2c\x05\x08\xff\xf0": `[0:3,44,[5 8]] "" ""`,
		"\xff\xfa\x2c\x01\x00\xff\xff\x02\x00\xff\xf0y": `[0:3,44,[1 0 255 2 0]] "y" ""`,
		"\xff\xfa\x2c\x05\x08\xff":                      `[] "" "\xff\xfa,\x05\b\xff"`,
		"\xff\xfa\x2c\x05\xff\xfd\x00z":                 `[0:3,44,[] 0:2,253,[]] "z" ""`, // no end
	} {
		items, data, rest := all([]byte(in))
		if got := fmt.Sprintf("%v %q %q", items, data, rest); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
	endless := append([]byte{Escape, begin, optionPort}, bytes.Repeat([]byte{1}, longestParams)...)
	if i, _ := Next(endless); i.Verb != TooLong {
		t.Errorf("parameters without an end are %v", i)
	}
}

// FuzzNext: however a stream is cut, its items and its data are the same, and no escape
// gets among the data but one that was doubled.
func FuzzNext(f *testing.F) {
	for _, s := range []string{"x\xff\xfb\x2cy", "\xff\xfa\x2c\x01\x00\x00\xff\xff\x80\xff\xf0", "\xff\xff\xff", "\xff\xfa\x2c\xff\xf1"} {
		f.Add([]byte(s), 1)
	}
	f.Fuzz(func(t *testing.T, p []byte, at int) {
		if len(p) > longestParams/2 { // where too long is, the cut counts
			return
		}
		items, data, rest := all(p)
		at = max(0, min(at, len(p)))
		items1, data1, rest1 := all(p[:at])
		items2, data2, rest2 := all(append(rest1, p[at:]...))
		if got := append(data1, data2...); !bytes.Equal(got, data) || !bytes.Equal(rest, rest2) || len(items) != len(items1)+len(items2) {
			t.Errorf("%q in one: %q %v %q; cut at %d: %q %v %v %q", p, data, items, rest, at, got, items1, items2, rest2)
		}
		if n := bytes.Count(data, []byte{Escape}); 2*n > bytes.Count(p, []byte{Escape}) {
			t.Errorf("%q: %d escapes among the data", p, n)
		}
		if items, back, rest := all(Escaped(p)); !bytes.Equal(back, p) || len(items)+len(rest) > 0 {
			t.Errorf("%q comes back as %q %v %q", p, back, items, rest)
		}
	})
}

// TestOptions: an option is confirmed once, what is not known is refused, and two sides
// that answer each other come to an end.
func TestOptions(t *testing.T) {
	var o Options
	if got := o.Offer(); string(got) != "\xff\xfb\x00\xff\xfd\x00\xff\xfb\x03\xff\xfb\x01" {
		t.Errorf("the offer is %q", got)
	}
	for _, tt := range []struct {
		which, option byte
		want          string
		port          bool
	}{
		{Do, optionBinary, "", false}, // what was offered
		{Will, optionBinary, "", false},
		{Will, optionBinary, "", false},
		{Will, optionHalf, "\xff\xfd\x03", false},
		{Do, optionEcho, "", false}, // as telnet(1)
		{Dont, optionEcho, "\xff\xfc\x01", false},
		{Do, optionEcho, "\xff\xfb\x01", false},   // as pyserial, which begins with it
		{Will, optionEcho, "\xff\xfe\x01", false}, // to the device
		{Do, 6, "\xff\xfc\x06", false},            // a timing mark
		{Will, 31, "\xff\xfe\x1f", false},
		{Will, optionPort, "\xff\xfd\x2c", true},
		{Do, optionPort, "\xff\xfb\x2c", true},
		{Do, optionPort, "", true},
		{Wont, optionPort, "\xff\xfe\x2c", true}, // the other direction stands
		{Dont, optionPort, "\xff\xfc\x2c", false},
		{Dont, optionPort, "", false},
		{Dont, 6, "", false},
	} {
		if got := o.Answer(Item{Verb: Agree, Which: tt.which, Option: tt.option}); string(got) != tt.want || o.Port() != tt.port {
			t.Errorf("%d %d: %q, port %v, want %q, %v", tt.which, tt.option, got, o.Port(), tt.want, tt.port)
		}
		if again := OptionsOf(o.Bytes()); again != o {
			t.Errorf("%v comes back as %v", o, again)
		}
	}
	var a, b Options
	said := a.Offer()
	for round := 0; len(said) > 0; round++ {
		if round > 3 {
			t.Fatal("they go on")
		}
		var reply []byte
		for len(said) > 0 {
			i, n := Next(said)
			reply, said = append(reply, b.Answer(i)...), said[n:]
		}
		said, a, b = reply, b, a
	}
}

// TestRequests: requests are read as RFC 2217 has them, and the answers are a hundred
// more, with their escapes.
func TestRequests(t *testing.T) {
	for in, want := range map[string]Request{
		"\x01\x00\x00\x25\x80": {Speed, 9600},
		"\x02\x07":             {Bits, 7},
		"\x05\x0b":             {Control, RTSOn},
		"\x07":                 {ModemState, 0},
		"\x0c\x03":             {Purge, PurgeBoth},
		"\x00":                 {Signature, 0},
	} {
		if got, ok := RequestOf(Item{Verb: Params, Option: optionPort, Bytes: []byte(in)}); !ok || got != want {
			t.Errorf("%q is %v %v, want %v", in, got, ok, want)
		}
	}
	for _, in := range []string{"", "\x01\x00\x25\x80", "\x05", "\x0d\x01", "\x65\x00\x00\x00\x00", "\x00pyserial"} {
		if got, ok := RequestOf(Item{Verb: Params, Option: optionPort, Bytes: []byte(in)}); ok {
			t.Errorf("%q is the request %v", in, got)
		}
	}
	got := AppendSignature(AppendAnswer(AppendAnswer(nil, Speed, 0xff00), ModemState, 255), "p\xff")
	want := []byte("\xff\xfa\x2c\x65\x00\x00\xff\xff\x00\xff\xf0\xff\xfa\x2c\x6b\xff\xff\xff\xf0\xff\xfa\x2c\x64p\xff\xff\xff\xf0")
	if !slices.Equal(got, want) {
		t.Errorf("the answers are\n%q, want\n%q", got, want)
	}
}
