// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/service"
	"penstock/evloop/evlooptest"
)

// A follower is a program that has joined a service.
type follower struct {
	t       testing.TB
	c       *control.Client
	replies chan control.Joined
	err     chan error
}

// join follows a service. after < 0: from now on.
func (r *controlled) join(service string, after int64, series string) *follower {
	r.t.Helper()
	f := &follower{r.t, r.dial(), make(chan control.Joined, 1000), make(chan error, 1)}
	in := control.Joining{Service: service, Series: series}
	if after >= 0 {
		n := uint64(after)
		in.After = &n
	}
	go func() {
		f.err <- f.c.Stream(control.Interface+".Join", in, 0, func(p json.RawMessage) error {
			var j control.Joined
			err := json.Unmarshal(p, &j)
			f.replies <- j
			return err
		})
	}()
	return f
}

// hears returns the messages of replies until there are n, as "number origin name text", and
// what was missed.
func (f *follower) hears(n int) (texts []string, missed uint64, last control.Joined) {
	f.t.Helper()
	limit := time.After(evlooptest.Patience)
	for first := true; first || len(texts) < n; first = false {
		select {
		case last = <-f.replies:
			missed += last.Missed
			for _, m := range last.Messages {
				texts = append(texts, strings.Join(strings.Fields(fmt.Sprint(m.Number, " ", m.Origin, " ", m.Name, " ", m.Tag, " ", string(m.Bytes()))), " "))
			}
		case err := <-f.err:
			f.t.Fatalf("after %q the stream ended with %v", texts, err)
		case <-limit:
			f.t.Fatalf("waited in vain for more than %q", texts)
		}
	}
	return texts, missed, last
}

func (f *follower) wants(want ...string) (last control.Joined) {
	f.t.Helper()
	got, missed, last := f.hears(len(want))
	if !slices.Equal(got, want) || missed > 0 {
		f.t.Fatalf("heard %q and missed %d, want %q", got, missed, want)
	}
	return last
}

func (r *controlled) publish(p control.Publication, text string) (number uint64, err error) {
	r.t.Helper()
	c := r.dial()
	defer c.Close()
	p.Data, p.Base64 = control.Text([]byte(text))
	var out control.Published
	err = c.Call(control.Interface+".Publish", p, &out)
	return out.Number, err
}

const joinedServices = `
[service.r]
kind = "room"
listen = ["DIR/r"]
welcome = ""
join = ""
leave = ""
message = "<{name}> {line}"
history = 3
idle_timeout = "0s"
drain_timeout = "10ms"
[service.b]
kind = "bridge"
command = ["/bin/cat"]
write = "any"
listen = ["DIR/b"]
drain_timeout = "10ms"
[service.n]
kind = "bridge"
device = "/nowhere"
listen = ["DIR/n"]
[service.t]
kind = "ticker"
payload = "tick\n"
interval = "10ms"
listen = ["DIR/t"]
[service.f]
kind = "tail"
file = "DIR/file"
history = 2
listen = ["DIR/f"]
[service.e]
kind = "echo"
listen = ["DIR/e"]
`

// TestJoinRoom: a program gets what members say, as they said it, and who comes and goes;
// what it publishes reaches the members in the way of the room; with after it gets what is
// kept, and is told how much is not.
func TestJoinRoom(t *testing.T) {
	eachControlled(t, joinedServices, func(r *controlled) {
		defer r.stop(r.t)
		f := r.join("r", -1, "")
		if first := f.wants(); first.Last != 0 || first.Series == "" {
			r.t.Errorf("the first reply is %+v", first)
		}
		c := talk(r.t, filepath.Join(r.dir, "r"))
		c.say("/nick bob\nhello  you\n")
		name := fmt.Sprintf("uid %d pid %d", os.Getuid(), os.Getpid())
		f.wants("0 join "+name, "0 rename bob "+name, "1 client bob hello you")
		if n, err := r.publish(control.Publication{Service: "r", Name: "amy", Tag: "x"}, "hi\x1b"); n != 2 || err != nil {
			r.t.Errorf("Publish = %d, %v", n, err)
		}
		c.hears("* " + name + " is now bob\n")
		_, _ = r.publish(control.Publication{Service: "r"}, "as it is\n")
		c.hears("<bob> hello  you\n<amy> hi?\nas it is\n")
		f.wants("2 publish amy x hi?", "3 publish as it is")
		_, _ = r.publish(control.Publication{Service: "r", Name: "amy"}, "\xff")
		if got, _, last := f.hears(1); len(got) != 1 || string(last.Messages[0].Base64) != "\xff" && !strings.HasPrefix(got[0], "4 publish amy") {
			r.t.Errorf("bytes that are no UTF-8 came as %q", got)
		}
		_ = c.Close()
		f.wants("0 leave bob")
		late := r.join("r", 0, "")
		if got, missed, last := late.hears(3); missed != 1 || len(got) != 3 || got[0] != "2 publish amy x hi?" || last.Last != 4 {
			r.t.Errorf("later one heard %q and missed %d of %d", got, missed, last.Last)
		}
		_ = f.c.Close()
		_ = late.c.Close()
		r.until("nobody follows", func() bool {
			return r.joins == 0 && len(r.endpoints["r"].joined) == 0
		})
	})
}

// TestJoinKinds: the other kinds that say the same to all can be joined, those that do not
// cannot, and what can be published where is said with a reason.
func TestJoinKinds(t *testing.T) {
	eachControlled(t, joinedServices, func(r *controlled) {
		defer r.stop(r.t)
		b := r.join("b", -1, "")
		b.wants()
		_, err := r.publish(control.Publication{Service: "b"}, "one")
		if err != nil {
			r.t.Fatal(err)
		}
		b.wants("1 source one")
		tick := r.join("t", -1, "")
		tick.hears(1)
		if err := os.WriteFile(filepath.Join(r.dir, "file"), []byte("a\nb\nc\n"), 0o600); err != nil {
			r.t.Fatal(err)
		}
		file := r.join("f", 0, "")
		if got, _, _ := file.hears(2); got[len(got)-1] != "3 source c" && got[len(got)-1] != "2 source c" {
			r.t.Errorf("of the file came %q", got)
		}
		for _, tt := range []struct {
			service, text, want string
		}{
			{"n", "x", "nobody may write"},
			{"b", "two\nlines", "InvalidParameter: data"},
			{"b", "two\n\xff", "InvalidParameter: base64"},
			{"r", "two\nlines", "InvalidParameter: data"},
			{"r", "two\n\xff", "InvalidParameter: base64"},
			{"r", "\n\n", "InvalidParameter: data"},
			{"b", strings.Repeat("x", 50000), "max_line"},
			{"r", strings.Repeat("x", 50000), "max_line"},
			{"e", "x", "no messages are taken: kind echo"},
			{"t", "x", "no messages are taken: kind ticker"},
		} {
			if _, err := r.publish(control.Publication{Service: tt.service}, tt.text); err == nil || !strings.Contains(err.Error(), "Refused: "+tt.want) && !strings.Contains(err.Error(), tt.want) {
				r.t.Errorf("Publish into %s: %v, want %s", tt.service, err, tt.want)
			}
		}
		c := r.dial()
		for _, tt := range []struct {
			in   any
			want *control.Error
		}{
			{control.Joining{Service: "nobody"}, control.NoSuchService("nobody")},
			{control.Joining{Service: "e"}, control.Refused("no messages for all: kind echo")},
			{map[string]any{"service": "r", "after": 77}, control.InvalidParameter("after")},
			{map[string]any{"service": "r", "after": -1}, control.InvalidParameter("after")},
		} {
			err := c.Stream(control.Interface+".Join", tt.in, evlooptest.Patience, func(json.RawMessage) error { return errors.New("a reply") })
			if err == nil || err.Error() != tt.want.Error() {
				r.t.Errorf("Join(%v): %v, want %v", tt.in, err, tt.want)
			}
		}
		if err := c.Call(control.Interface+".Join", control.Joining{Service: "r"}, nil); !errors.Is(err, control.ErrExpectedMore) {
			r.t.Errorf("Join without more: %v", err)
		}
	})
}

// TestJoinRestart: at a restart the stream ends with an error, and whoever comes again
// with its last number gets all that was said meanwhile, once.
func TestJoinRestart(t *testing.T) {
	eachControlled(t, joinedServices, func(r *controlled) {
		f := r.join("r", -1, "")
		f.wants()
		_, _ = r.publish(control.Publication{Service: "r", Name: "a"}, "1st")
		before := f.wants("1 publish a 1st")
		r = r.next(joinedServices)
		if err := <-f.err; !errors.Is(err, control.ErrStopping) {
			r.t.Errorf("the stream ended with %v", err)
		}
		_, _ = r.publish(control.Publication{Service: "r", Name: "a", Tag: "t"}, "2nd")
		f = r.join("r", int64(before.Last), before.Series)
		f.wants("2 publish a t 2nd")
		again := r.join("r", 0, "another")
		again.wants("1 publish a 1st", "2 publish a t 2nd")
		r.stop(r.t)
		if err := <-f.err; !errors.Is(err, control.ErrStopping) && !errors.Is(err, io.ErrUnexpectedEOF) {
			r.t.Errorf("at the end: %v", err)
		}
	})
}

// TestJoinSlow: one that does not read loses the oldest messages, is told how many, and
// gets the newest. What waits for it is bounded.
func TestJoinSlow(t *testing.T) {
	eachControlled(t, joinedServices, func(r *controlled) {
		defer r.stop(r.t)
		f := r.join("r", -1, "")
		f.wants()
		const n = 3000
		line := strings.Repeat("x", 1000)
		for done := 0; done < n; {
			r.do(func() {
				to := r.endpoints["r"].svc.(service.Publisher)
				for ; done < n; done++ {
					if _, err := to.Publish(&service.Publication{Text: []byte(line)}); err != nil {
						break
					}
				}
				if s := &r.endpoints["r"].joined[0].stream; s.bytes > streamBound {
					r.t.Errorf("%d bytes wait", s.bytes)
				}
			})
		}
		heard, missed := 0, uint64(0)
		for heard+int(missed) < n {
			got, lost, _ := f.hears(0)
			heard, missed = heard+len(got), missed+lost
		}
		if heard+int(missed) != n || missed == 0 {
			r.t.Errorf("heard %d and missed %d of %d", heard, missed, n)
		}
	})
}

// TestJoinReload: the stream of a service that a reload removes ends.
func TestJoinReload(t *testing.T) {
	r := runControlled(t, joinedServices)
	defer r.stop(t)
	f := r.join("r", -1, "")
	f.wants()
	r.do(func() { r.endpoints["r"].unjoin() })
	if err := <-f.err; !errors.Is(err, control.ErrStopping) {
		t.Errorf("the stream ended with %v", err)
	}
	if err := f.c.Call(control.Interface+".Status", nil, nil); err != nil {
		t.Errorf("after that: %v", err)
	}
}

// FuzzJoin and FuzzPublish: whatever is asked for, nobody follows who was not let in, and
// the process goes on.
func FuzzJoin(f *testing.F) {
	for _, s := range []string{`{"service":"e"}`, `{"service":"e","after":0}`, `{"service":"e","after":18446744073709551615,"series":"x"}`, `{"after":1.5}`, `{"series":null}`} {
		f.Add([]byte(s))
	}
	fuzzCalls(f, "Join", false, func(t *testing.T, d *Daemon) {
		if d.joins != 0 {
			t.Errorf("%d follow", d.joins)
		}
	})
}

func FuzzPublish(f *testing.F) {
	for _, s := range []string{`{"service":"e","data":"x"}`, `{"service":"e","base64":"/w=="}`, `{"service":"e","base64":"?"}`, `{"data":"x","base64":""}`, `{"service":"e","data":"x","tag":"` + strings.Repeat("t", 65) + `"}`} {
		f.Add([]byte(s))
	}
	fuzzCalls(f, "Publish", false, func(*testing.T, *Daemon) {})
}
