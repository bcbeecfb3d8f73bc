// SPDX-License-Identifier: Apache-2.0

package service

import (
	"strings"
	"testing"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

const lancelot = `
kind = "lookup"
delimiter = "?"
default = "Error: unknown question."
[service.x.answers]
"What is your name?" = "My name is Sir Lancelot of Camelot."
"What is your quest?" = "To seek the Holy Grail."
"What is your favorite color" = "Blue."
`

func TestLookup(t *testing.T) {
	const (
		name  = "My name is Sir Lancelot of Camelot."
		quest = "To seek the Holy Grail."
		fail  = "Error: unknown question."
	)
	tests := []struct{ name, conf, in, want string }{
		{"tutorial", lancelot, "What is your name?", name},
		{"key without the delimiter", lancelot, "What is your favorite color?", "Blue."},
		{"pipelined, in order", lancelot, "What is your quest?What is your name?", quest + name},
		{"telnet ends lines", lancelot, "What is your name?\r\nWhat is your quest?\r\n", name + quest},
		{"unknown", lancelot, "Who?What is your name?", fail + name},
		{"nothing asked", lancelot, "??", fail + fail},
		{"a question without its end", lancelot, "What is your name?\r\nWhat is your name", name + name},
		{"half a question at the end", "at_eof=\"drop\"\n" + lancelot, "What is your name?What", name},
		{"white space at the end", lancelot, "What is your name?\r\n", name},
		{"PuTTY offers its options first", lancelot, "\xff\xfb\x1f\xff\xfb\x20\xff\xfd\x03What is your name?\xff\xf4What is your name?", name + name},
		{"case counts", lancelot, "what is your name?", fail},
		{
			"folded", `kind="lookup"` + "\nfold_case=true\nanswers={\"Größe\"=\"42\"}",
			"GRÖSSE\nGRÖßE\r\n\xff\n", "42",
		},
		{"silence without a default", `kind="lookup"` + "\nanswers={a=\"b\"}", "x\na\ny\n", "b"},
		{"long delimiter", `kind="lookup"` + "\ndelimiter=\"<>\"\nanswers={a=\"b\"}", "a<a<>a<>a<>", "bb"},
		{"too long", `kind="lookup"` + "\nmax_line=4\nanswers={a=\"b\"}", "a\nabcde\na\n", "bERR line too long\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := serve(t, tt.conf).dial()
			c.send(tt.in)
			c.shut()
			if got := c.rest(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLookupTooLongIsTheReason(t *testing.T) {
	r := serve(t, `kind="lookup"`+"\nmax_line=16")
	c := r.dial()
	c.send(strings.Repeat("x", 18))
	c.want("ERR line too long\n")
	c.wantEOF()
	c.conn.Close()
	r.wantEnd(ErrLineTooLong)
}

// One byte too much is too much without a delimiter too: the client is told, and
// the log names no other reason.
func TestTooLongAtTheEnd(t *testing.T) {
	for _, conf := range []string{
		`kind="lookup"`, `kind="lookup"` + "\ndelimiter=\"?\"", "kind=\"room\"\nwelcome=\"\"",
		"kind=\"handler\"\ncommand=[\"/bin/cat\"]",
	} {
		t.Run(conf, func(t *testing.T) {
			r := serve(t, conf+"\nmax_line=16")
			c := r.dial()
			c.send(strings.Repeat("x", 17))
			c.shut()
			if got := c.rest(); got != "ERR line too long\n" {
				t.Errorf("got %q", got)
			}
			r.wantEnd(ErrLineTooLong)
			if n := r.log.count("no_delimiter"); n != 0 {
				t.Errorf("%d records of a missing delimiter", n)
			}
		})
	}
}

// A segment of one-byte questions with large answers: what is queued stays
// near the bound although a megabyte was asked for, and nothing is lost.
func TestLookupAmplificationIsBounded(t *testing.T) {
	answer := strings.Repeat("x", 1000)
	r := serve(t, `kind="lookup"`+"\nqueue=16384\nanswers={a=\""+answer+"\"}")
	c := r.dial()
	const asked = 4096
	c.send(strings.Repeat("a\n", asked))
	r.do(func() {
		if q := r.loop.Conn(c.id).Queued(); q > r.conf.Queue+len(answer) {
			t.Errorf("%d bytes queued, want about %d", q, r.conf.Queue)
		}
	})
	c.shut()
	if got := len(c.rest()); got != asked*len(answer) {
		t.Errorf("%d bytes of answers, want %d", got, asked*len(answer))
	}
}

// With "disconnect" a client that asks for more than it reads is cut off.
func TestLookupDisconnect(t *testing.T) {
	answer := strings.Repeat("x", 1000)
	r := serve(t, `kind="lookup"`+"\noverflow=\"disconnect\"\nqueue=16384\nanswers={a=\""+answer+"\"}")
	c := r.dial()
	c.send(strings.Repeat("a\n", 4096))
	r.wantEnd(evloop.ErrOverflow)
}

func TestLookupAnswerDoesNotAllocate(t *testing.T) {
	s := newLookup(&config.Service{MaxLine: 100, Of: &config.Lookup{
		Delimiter: "?", FoldCase: true, Default: "no", Answers: map[string][]byte{"how are you": []byte("fine")},
	}}, Env{Loop: new(evloop.Loop)})
	q := []byte(" How are YOU ")
	s.answer(q) // grows the buffer
	if n := testing.AllocsPerRun(100, func() {
		if string(s.answer(q)) != "fine" {
			t.Fatal("wrong answer")
		}
	}); n != 0 {
		t.Errorf("%v allocations for an answer, want none", n)
	}
}

func BenchmarkLookupAnswer(b *testing.B) {
	s := newLookup(&config.Service{MaxLine: 100, Of: &config.Lookup{
		Delimiter: "?", Answers: map[string][]byte{"What is your name": []byte("My name is Sir Lancelot of Camelot.")},
	}}, Env{Loop: new(evloop.Loop)})
	in := []byte("What is your name?")
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		q, _, _ := s.frame.next(in)
		if len(s.answer(q)) != 35 {
			b.Fatal("wrong answer")
		}
	}
}
