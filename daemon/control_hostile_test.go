// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/evloop/evlooptest"
)

// ownEnd are methods whose call does not end by itself, or ends the connection. They have
// tests of their own.
var ownEnd = []string{
	control.Interface + ".Join", control.Interface + ".Watch", control.Interface + ".Tap", control.Interface + ".Connect",
}

// FuzzControlParameters: whatever the parameters of a method are, there is a reply, or the
// bytes were no call, and the daemon goes on.
func FuzzControlParameters(f *testing.F) {
	names := slices.Sorted(maps.Keys(methods))
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(ownEnd, name) })
	for i := range names {
		for _, parameters := range []string{
			`{}`, `null`, `[]`, `{"service":"alpha"}`, `{"service":"gamma","now":true}`, `{"service":7}`, `{"id":1}`, `{"id":-1}`,
			`{"id":18446744073709551616}`, `{"id":1,"service":"alpha","peer":"uid 0"}`, `{"service":"alpha","peer":"uid 0"}`,
			`{"level":"debug"}`, `{"service":"lobby","board":"attic","names":["a","","a"]}`, `{"service":"lobby","board":"attic","names":null}`,
			`{"companion":"mqtt","state":"up"}`, `{"interface":"penstock.Control"}`, `{"service":"` + strings.Repeat("x", 5000) + `"}`,
		} {
			f.Add(i, parameters, true)
		}
		f.Add(i, `{}`, false)
	}
	r := runControlled(f, twoServices+"[service.lobby]\nkind = 'room'\nlisten = ['DIR/lobby.sock']\n")
	f.Cleanup(func() { r.stop(f) })
	r.do(func() { r.env.Load = func(context.Context) (*config.Config, error) { return r.cfg, nil } })
	f.Fuzz(func(t *testing.T, i int, parameters string, more bool) {
		name := names[uint(i)%uint(len(names))]
		text := fmt.Sprintf(`{"method":%q,"more":%t,"parameters":%s}`, name, more, parameters)
		if strings.ContainsRune(text, 0) || len(text) >= control.LongestCall {
			return
		}
		b, err := callOnce(t, r, text)
		call, wrong := control.ParseCall([]byte(text))
		if wrong != nil || call.OneWay {
			if len(b) > 0 {
				t.Errorf("%q is no call, or wants no reply, and was answered with %q", text, b)
			}
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		replies := strings.Split(string(b), "\x00")
		if len(replies) < 2 || replies[len(replies)-1] != "" {
			t.Fatalf("%q was answered with %q", text, b)
		}
		for i, text := range replies[:len(replies)-1] {
			got, err := control.ParseReply([]byte(text))
			if last := i == len(replies)-2; err != nil || got.Continues == last {
				t.Errorf("reply %d of %d is %q, %v", i+1, len(replies)-1, text, err)
			}
		}
	})
}

// callOnce sends one call and returns all that comes back. It returns when the daemon has
// seen the end of the connection: the fuzzer is faster than the loop, and connections that
// are not seen yet fill the backlog, and those that are the places.
func callOnce(t testing.TB, r *controlled, text string) ([]byte, error) {
	t.Helper()
	c, err := net.Dial("unix", r.path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(evlooptest.Patience))
	_, err = io.WriteString(c, text+"\x00")
	_ = c.(*net.UnixConn).CloseWrite()
	b, readErr := io.ReadAll(c)
	_ = c.Close()
	evlooptest.Until(t, r.loop, "the connection has ended", func() bool { return r.control.clients() == 0 })
	return b, errors.Join(err, readErr)
}

// TestControlHostileRoom: whatever 100 clients do to the control socket, the members of a
// room hear each other, and no turn does more than one step for all of these together.
func TestControlHostileRoom(t *testing.T) {
	r := runControlled(t, "[service.lobby]\nkind='room'\nlisten=['DIR/lobby.sock']\nwelcome=''\njoin=''\nleave=''\n")
	steps := countSteps(t, r)
	talkers := r.clients(3, "lobby.sock")
	const hostile, rounds, lines = 100, 5, 100
	var wg sync.WaitGroup
	for i := range hostile {
		wg.Go(func() {
			for n := range rounds {
				annoy(r.path, i+n)
			}
		})
	}
	var heard []*bufio.Reader
	for _, c := range talkers[1:] {
		_ = c.SetDeadline(time.Now().Add(evlooptest.Patience))
		heard = append(heard, bufio.NewReader(c))
	}
	for i := range lines {
		want := fmt.Sprintf("line %d", i)
		if _, err := io.WriteString(talkers[0], want+"\n"); err != nil {
			t.Fatal(err)
		}
		for _, in := range heard {
			if got, err := in.ReadString('\n'); err != nil || !strings.Contains(got, want) {
				t.Fatalf("%q, %v, want %s", got, err, want)
			}
		}
	}
	wg.Wait()
	r.do(func() { t.Logf("%d steps, longest turn %v", *steps, r.loop.Stats().Longest) })
	r.stop(t)
	if *steps == 0 {
		t.Error("no call was answered")
	}
}

// countSteps counts the steps of calls, and fails if two are in one turn.
func countSteps(t *testing.T, r *controlled) *int {
	t.Helper()
	steps, last := 0, uint64(0)
	once := func() {
		turn := r.loop.Stats().Turns
		if steps++; turn == last {
			t.Errorf("turn %d has two steps", turn)
		}
		last = turn
	}
	r.do(func() {
		was := maps.Clone(methods)
		t.Cleanup(func() { methods = was })
		for name, m := range methods {
			methods[name] = func(k *controlSocket, a *asker) (func() bool, *control.Error) {
				once()
				step, err := m(k, a)
				if step == nil {
					return nil, err
				}
				return func() bool { once(); return step() }, err
			}
		}
	})
	return &steps
}

// annoy is one client that means no good.
func annoy(path string, how int) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return // the backlog may be full
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond)) // most of them never read
	call := func(method, parameters string) string {
		b, _ := json.Marshal(struct {
			Method     string          `json:"method"`
			Parameters json.RawMessage `json:"parameters"`
			More       bool            `json:"more"`
		}{control.Interface + "." + method, json.RawMessage(parameters), true})
		return string(b) + "\x00"
	}
	switch how % 5 {
	case 0:
		_, _ = io.WriteString(c, strings.Repeat("[", control.LongestCall+1))
	case 1:
		_, _ = io.WriteString(c, strings.Repeat(call("List", "{}"), 500))
	case 2:
		_, _ = io.WriteString(c, `{"method":"penstock.Control.Status`)
		_, _ = c.Read(make([]byte, 1))
	case 3:
		_, _ = io.WriteString(c, strings.Repeat(call("Kick", `{"service":"lobby","peer":"nobody"}`), 100))
		_, _ = io.Copy(io.Discard, c)
	}
}
