// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop/evlooptest"
)

// sampleFiles makes a folder with the files that samples name, and serves the backends.
func sampleFiles(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	serveBackends(t, "A", "B")
	for name, text := range map[string]string{"quotes": "one\n", "others": "two\n", "lines": "1\n2\n3\n", "answers.toml": "a = '8'\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// hear asks as s does and returns what comes back.
func (s sample) hear(path string) (string, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(evlooptest.Patience)); err != nil {
		return "", err
	}
	_, _ = io.WriteString(c, s.say) // discarded by a service that speaks first and closes
	if s.goesOn {
		b := make([]byte, len(s.hears))
		n, err := io.ReadFull(c, b)
		return string(b[:n]), err
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		return "", err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// heard reports whether got is what s hears. What a clock says is only measured.
func (s sample) heard(kind config.Kind, got string) bool {
	if kind == config.KindDaytime || kind == config.KindTime {
		return len(got) == len(s.hears)
	}
	return got == s.hears
}

// A drawn configuration distributes some sockets over three services.
type drawn struct {
	dir        string
	services   map[string]drawnService
	impossible bool
	limit      int
}

type drawnService struct {
	kind    config.Kind
	sample  int
	sockets []int
}

func (s drawnService) of() sample { return samples[s.kind][s.sample] }

const drawnSockets = 5

// draw changes a service of before as often as it makes another.
func draw(rng *rand.Rand, before drawn) drawn {
	c := drawn{dir: before.dir, services: map[string]drawnService{}, limit: 100 + rng.IntN(3), impossible: rng.IntN(5) == 0}
	for i := range drawnSockets {
		name := []string{"", "a", "b", "c"}[rng.IntN(4)]
		if name == "" && (i > 0 || len(c.services) > 0) {
			continue
		}
		name = max(name, "a")
		s, ok := c.services[name]
		if !ok {
			s.kind = config.Kinds()[rng.IntN(len(samples))]
			if was := before.services[name]; was.kind != "" && rng.IntN(4) > 0 {
				s.kind = was.kind
			}
			s.sample = rng.IntN(len(samples[s.kind]))
		}
		s.sockets = append(s.sockets, i)
		c.services[name] = s
	}
	return c
}

func (c drawn) path(i int) string { return filepath.Join(c.dir, fmt.Sprint("s", i)) }

func (c drawn) text() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(c.services)) {
		s := c.services[name]
		fmt.Fprintf(&b, "[service.%s]\nkind = '%s'\nmax_connections = %d\nlisten = [", name, s.kind, c.limit)
		for _, i := range s.sockets {
			fmt.Fprintf(&b, "'%s', ", c.path(i))
		}
		fmt.Fprintf(&b, "]\n%s\n", s.of().keys)
	}
	if c.impossible { // its folder cannot be made, for /dev/null is none
		b.WriteString("[service.zzz]\nkind = 'echo'\nlisten = ['/dev/null/x']\n")
	}
	return b.String()
}

// parse reads the text as a file of the folder, beside the files that it names.
func (c drawn) parse(t *testing.T) *config.Config {
	t.Helper()
	cfg, err := config.Parse(filepath.Join(c.dir, "penstock.toml"), []byte(c.text()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, c.text())
	}
	return cfg
}

// check compares what answers where with what c says.
func (c drawn) check() error {
	served := map[int]string{}
	for name, s := range c.services {
		for _, i := range s.sockets {
			served[i] = name
		}
	}
	for i := range drawnSockets {
		if served[i] == "" {
			if _, err := (sample{}).hear(c.path(i)); err == nil {
				return fmt.Errorf("socket %d is served", i)
			}
			continue
		}
		s := c.services[served[i]]
		if got, err := s.of().hear(c.path(i)); err != nil || !s.of().heard(s.kind, got) {
			return fmt.Errorf("socket %d of %s: heard %q, %v; want %q", i, served[i], got, err, s.of().hears)
		}
	}
	return nil
}

// TestReloads applies random configurations one after the other, some of which
// cannot be applied. After each it compares what answers where with the one
// that must be in force, and a service is another one just when its kind, its
// delimiter or its TELNET is. In the end nothing may be left open.
func TestReloads(t *testing.T) {
	for _, kind := range config.Kinds() {
		if len(samples[kind]) == 0 {
			t.Fatalf("samples has none of kind %s", kind)
		}
	}
	dir := sampleFiles(t)
	before := evlooptest.Descriptors()
	rng := rand.New(rand.NewPCG(1, 2))
	inForce := draw(rng, drawn{dir: dir})
	inForce.impossible = false
	r := runDaemon(t, inForce.parse(t))
	for step := range 100 {
		was, now := r.inPlace(), draw(rng, inForce)
		cfg := now.parse(t)
		var err error
		r.do(func() { err = r.putInForce(cfg) })
		if (err != nil) != now.impossible {
			t.Fatalf("step %d: putInForce = %v for\n%s", step, err, now.text())
		}
		if err == nil {
			for name, ep := range r.inPlace() {
				a, b := inForce.services[name], now.services[name]
				if goesOn := a.continues(b); was[name] != nil && goesOn != (ep == was[name]) {
					t.Fatalf("step %d: service %s went on: %v\n%s\n%s", step, name, !goesOn, inForce.text(), now.text())
				}
			}
			inForce = now
		}
		if err := inForce.check(); err != nil {
			t.Fatalf("step %d: %v, for\n%s", step, err, inForce.text())
		}
	}
	r.stop(t)
	if left, _ := filepath.Glob(dir + "/s*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	evlooptest.SameDescriptors(t, before)
}

// continues reports whether clients of s stay when b takes its place.
func (s drawnService) continues(b drawnService) bool {
	end := func(s drawnService) string {
		for _, word := range []string{"delimiter = ''", "delimiter", "twisted", "telnet"} {
			if strings.Contains(s.of().keys, word) {
				return word
			}
		}
		return ""
	}
	return s.kind == b.kind && end(s) == end(b)
}

// TestReloadKeepsClients: a client stays through a reload that changes any key of its
// kind but the delimiter and TELNET, and its next message meets the new keys.
func TestReloadKeepsClients(t *testing.T) {
	for kind, of := range samples {
		for from := range of {
			for to := range of {
				t.Run(fmt.Sprint(kind, " ", from, " to ", to), func(t *testing.T) {
					keepsClient(t, kind, from, to)
				})
			}
		}
	}
}

func keepsClient(t *testing.T, kind config.Kind, from, to int) {
	c := drawn{dir: sampleFiles(t), limit: 100, services: map[string]drawnService{"a": {kind, from, []int{0}}}}
	before := c.services["a"]
	r := runDaemon(t, c.parse(t))
	defer r.stop(t)
	client, err := net.Dial("unix", c.path(0))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.SetDeadline(time.Now().Add(evlooptest.Patience)); err != nil {
		t.Fatal(err)
	}
	var ep *endpoint
	for known := false; !known; {
		r.do(func() { ep = r.endpoints["a"]; known = ep.accepted == 1 })
	}
	c.services["a"] = drawnService{kind, to, []int{0}}
	if !before.continues(c.services["a"]) {
		return // TestReloads looks at that
	}
	cfg := c.parse(t)
	r.do(func() { err = r.putInForce(cfg) })
	if err != nil {
		t.Fatal(err)
	}
	s := c.services["a"].of()
	want := s.hears
	switch kind {
	case config.KindDaytime, config.KindTime, config.KindQOTD, config.KindDiscard, config.KindChargen:
		return // they have said all, or say nothing new
	case config.KindProxy, config.KindExec:
		want = before.of().hears // it keeps its backend, or its program
	case config.KindRoom: // but not its welcome, which was said
		_, want, _ = strings.Cut(want, "\n")
	}
	if _, err := io.WriteString(client, s.say); err != nil {
		t.Fatal(err)
	}
	if !s.goesOn {
		_ = client.(*net.UnixConn).CloseWrite()
	}
	heard := ""
	for b := make([]byte, 1024); !strings.HasSuffix(heard, want); {
		n, err := client.Read(b)
		if heard += string(b[:n]); err != nil {
			t.Fatalf("heard %q, %v; want %q at the end", heard, err, want)
		}
	}
}

// inPlace returns the endpoints by the name of their service.
func (r *running) inPlace() (all map[string]*endpoint) {
	r.do(func() { all = maps.Clone(r.endpoints) })
	return all
}

// TestSamples: TestReloads draws every kind, and every key that a kind has of
// its own has two values among the samples.
func TestSamples(t *testing.T) {
	dir := sampleFiles(t)
	for _, kind := range config.Kinds() {
		if len(samples[kind]) == 0 {
			t.Errorf("no sample of kind %s", kind)
			continue
		}
		var first reflect.Value
		same := map[string]bool{}
		for i := range samples[kind] {
			c := drawn{dir: dir, services: map[string]drawnService{"a": {kind, i, []int{0}}}}
			of := c.parse(t).Services[0].Of
			if of == nil {
				break // the kind has no keys
			}
			v := reflect.ValueOf(of).Elem()
			if i == 0 {
				first = v
			}
			for f := range v.NumField() {
				name := v.Type().Field(f).Name
				same[name] = (i == 0 || same[name]) && reflect.DeepEqual(v.Field(f).Interface(), first.Field(f).Interface())
			}
		}
		for name, constant := range same {
			if constant {
				t.Errorf("kind %s: %s is the same in all samples", kind, name)
			}
		}
	}
}
