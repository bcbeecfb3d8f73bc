// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// write puts files, given as name and text, below dir.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// mistakes returns what Parse says about text, a line each, warnings last.
func mistakes(t *testing.T, text string) (lines []string) {
	t.Helper()
	c, err := Parse("x.toml", []byte(text))
	if err != nil {
		if _, ok := errors.AsType[Errors](err); !ok {
			t.Fatalf("Parse: %T, want Errors", err)
		}
		lines = strings.Split(err.Error(), "\n")
	}
	for _, w := range c.Warnings {
		lines = append(lines, w.String())
	}
	return lines
}

func service(t *testing.T, c *Config, name string) *Service {
	t.Helper()
	for _, s := range c.Services {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no service %q", name)
	return nil
}

func texted(answers map[string][]byte) map[string]string {
	out := map[string]string{}
	for q, a := range answers {
		out[q] = string(a)
	}
	return out
}

func TestBuiltin(t *testing.T) {
	c := Builtin()
	got := map[string]string{}
	for _, s := range c.Services {
		got[s.Name] = string(s.Kind) + " " + s.Listen[0].Text
		if !s.Listen[0].AddrPort.Addr().IsLoopback() || s.Listen[0].AddrPort.Port() < 1024 {
			t.Errorf("%s listens on %v, want loopback and no privilege", s.Name, s.Listen[0])
		}
	}
	want := map[string]string{
		"lancelot": "lookup 127.0.0.1:1060", "echo": "echo 127.0.0.1:9999", "ticker": "ticker 127.0.0.1:10001",
		"handler": "handler 127.0.0.1:5000", "bridge": "bridge 127.0.0.1:10023", "chat": "room 127.0.0.1:51423", "select-chat": "room 127.0.0.1:3490",
		"discard": "discard 127.0.0.1:10009", "daytime": "daytime 127.0.0.1:10013", "qotd": "qotd 127.0.0.1:10017",
		"chargen": "chargen 127.0.0.1:10019", "time": "time 127.0.0.1:10037", "log": "tail 127.0.0.1:10514", "proxy": "proxy 127.0.0.1:10080",
		"upper": "exec 127.0.0.1:5001",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	// The questions lose the delimiter, so that they match what was cut at it.
	answers := map[string]string{
		"What is your name":           "My name is Sir Lancelot of Camelot.",
		"What is your quest":          "To seek the Holy Grail.",
		"What is your favorite color": "Blue.",
	}
	if diff := cmp.Diff(answers, texted(service(t, c, "lancelot").Of.(*Lookup).Answers)); diff != "" {
		t.Errorf("answers, -want +got:\n%s", diff)
	}
}

// The other keys of a service whose answers are all in a file, or that has none, are no
// answers: "file" would tell a client where it is.
func TestKeysAreNoAnswers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.toml")
	files := map[string]string{
		path: "[service.l]\nkind = \"lookup\"\nlisten = [\"7001\"]\nfile = \"t.toml\"\ndefault = \"?\"\n" +
			"[service.m]\nkind = \"lookup\"\nlisten = [\"7002\"]\ndefault = \"?\"\n",
		filepath.Join(dir, "t.toml"): "a = \"b\"\n",
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]map[string]string{"l": {"a": "b"}, "m": {}} {
		if diff := cmp.Diff(want, texted(service(t, c, name).Of.(*Lookup).Answers)); diff != "" {
			t.Errorf("%s: answers, -want +got:\n%s", name, diff)
		}
	}
}

func TestLoadDropIns(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"penstock.toml": `
[limits]
per_source = 5
[service.a]
kind = "echo"
listen = ["127.0.0.1:7001"]
queue = "1KiB"
max_line = 10
[service.b]
kind = "echo"
listen = ["127.0.0.1:7002"]
`,
		"conf.d/20-late.toml":     "[service.a]\nqueue = \"3KiB\"\n",
		"conf.d/10-early.toml":    "[service.a]\nqueue = \"2KiB\"\n[service.c]\nkind = \"echo\"\nlisten = [\"127.0.0.1:7003\"]\n[limits]\nconnections = 7\n",
		"conf.d/.#30-editor.toml": "not TOML",
		"conf.d/40-notes.txt":     "not TOML",
	})
	c, err := Load(filepath.Join(dir, "penstock.toml"))
	if err != nil {
		t.Fatal(err)
	}
	files := []string{"penstock.toml", "conf.d/10-early.toml", "conf.d/20-late.toml"}
	for i, f := range files {
		files[i] = filepath.Join(dir, f)
	}
	if diff := cmp.Diff(files, c.Files); diff != "" {
		t.Errorf("files read, -want +got:\n%s", diff)
	}
	if len(c.Services) != 3 || c.Services[0].Name != "a" || c.Services[2].Name != "c" {
		t.Fatalf("services %v, want a b c in this order", c.Services)
	}
	a := c.Services[0]
	if a.Queue != 3*kib || a.MaxLine != 10 || a.PerSource != 5 || c.Limits.Connections != 7 {
		t.Errorf("queue %d max_line %d per_source %d connections %d, want 3072 10 5 7: the last file wins, key by key",
			a.Queue, a.MaxLine, a.PerSource, c.Limits.Connections)
	}
}

func TestLoadMissing(t *testing.T) {
	c, err := Load(filepath.Join(t.TempDir(), "none.toml"))
	if c != nil || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file = %v, %v, want nil and fs.ErrNotExist", c, err)
	}
}

// A bad drop-in, an unreadable one included, costs only what it describes.
func TestLoadKeepsTheRest(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"p.toml":               "[service.good]\nkind = \"echo\"\nlisten = [\"7001\"]\n[service.bad]\nkind = \"echo\"\nlisten = [\"nowhere\"]\n",
		"conf.d/a.toml":        "[service.x}\n",
		"conf.d/b.toml/inside": "",
	})
	c, err := Load(filepath.Join(dir, "p.toml"))
	if _, ok := errors.AsType[Errors](err); !ok || c == nil {
		t.Fatalf("Load = %v, %v, want a Config and Errors", c, err)
	}
	if len(c.Services) != 1 || c.Services[0].Name != "good" {
		t.Errorf("services %v, want the good one alone", c.Services)
	}
	for i, want := range []string{"p.toml:6: service.bad.listen: ", "a.toml:1: is not TOML", "b.toml: is not a regular file"} {
		if lines := strings.Split(err.Error(), "\n"); i >= len(lines) || !strings.Contains(lines[i], want) {
			t.Errorf("line %d of %q lacks %q", i, err, want)
		}
	}
}

func TestLoadFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"etc/p.toml": `
[service.l]
kind = "lookup"
listen = ["/run/l.sock"]
delimiter = "?"
fold_case = true
file = "zen.toml"
answers = { "SIMPLE is better than?" = "nearer" }
[service.q]
kind = "qotd"
listen = ["7002"]
file = "` + filepath.Join(dir, "quotes") + `"
`,
		"etc/zen.toml": "\"Beautiful is better than?\" = \"Ugly.\"\n\"Simple is better than\" = \"Complex.\"\n",
		"quotes":       "one\r\ntwo\r\n%\n\n%\nthree\n",
	})
	c, err := Load(filepath.Join(dir, "etc/p.toml"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"beautiful is better than": "Ugly.", "simple is better than": "nearer"}
	if diff := cmp.Diff(want, texted(c.Services[0].Of.(*Lookup).Answers)); diff != "" {
		t.Errorf("answers, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"one\ntwo", "three"}, c.Services[1].Of.(*QOTD).Quotes); diff != "" {
		t.Errorf("quotes, -want +got:\n%s", diff)
	}
	if len(c.Files) != 3 {
		t.Errorf("files %v, want the table and the quotes among them", c.Files)
	}
}

func TestFilesMistakes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"p.toml": "[service.l]\nkind = \"lookup\"\nlisten = [\"7001\"]\nfile = \"t.toml\"\n" +
			"[service.m]\nkind = \"lookup\"\nlisten = [\"7002\"]\nfile = \"none.toml\"\n" +
			"[service.q]\nkind = \"qotd\"\nlisten = [\"7003\"]\nfile = \"q\"\n" +
			"[service.r]\nkind = \"qotd\"\nlisten = [\"7004\"]\nfile = \"empty\"\n",
		"t.toml": "a = \"1\"\nb = 2\n[c]\nd = \"3\"\n",
		"q":      "short\n%\n" + strings.Repeat("x", 512) + "\n",
		"empty":  "%\n%\n",
	})
	c, err := Load(filepath.Join(dir, "p.toml"))
	if err == nil || len(c.Services) != 0 {
		t.Fatalf("Load = %v, %v, want no service left", c.Services, err)
	}
	want := []string{
		"p.toml:8: service.m.file: read none.toml: no such file or directory",
		"p.toml:16: service.r.file: holds no quote",
		"t.toml:2: b: is an integer, want a string: the file is one table of questions and answers",
		"t.toml:3: c: is a table, want a string: the file is one table of questions and answers",
		"q:3: quote has 512 bytes, more than 511",
	}
	got := strings.Split(strings.ReplaceAll(err.Error(), dir+"/", ""), "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A file of many services is read in the time its length takes: to find the
// line of each key, and not only of mistakes, took half a minute for 10,000.
func TestManyServices(t *testing.T) {
	const n = 2000
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "[service.s%d]\nkind=\"echo\"\nlisten=[\"%d\"]\n", i, 10000+i)
	}
	c, err := Parse("x.toml", []byte(text.String()))
	if err != nil || len(c.Services) != n {
		t.Errorf("%d services, %v, want %d", len(c.Services), err, n)
	}
}

// The default of a key may depend on another one, wherever that stands.
func TestDefaultsFollow(t *testing.T) {
	c, err := Parse("x.toml", []byte(`
[service.r]
welcome = "hello"
preset = "select-chat"
listen = ["7001"]
kind = "room"
[service.t]
listen = ["7002"]
kind = "ticker"
stall_timeout = "0s"
[limits]
memory = "64KiB"
per_source = 9
`))
	if err != nil {
		t.Fatal(err)
	}
	r := c.Services[0]
	want := presets[PresetSelectChat]
	want.Welcome = "hello"
	if diff := cmp.Diff(&want, r.Of); diff != "" {
		t.Errorf("room, -want +got:\n%s", diff)
	}
	if r.Overflow != Disconnect || r.PerSource != 9 || r.IdleTimeout != 0 {
		t.Errorf("overflow %s per_source %d idle %v, want disconnect 9 0s", r.Overflow, r.PerSource, r.IdleTimeout)
	}
	if s := c.Services[1]; s.Overflow != DropOldest || s.StallTimeout != 0 || s.DrainTimeout != 10*time.Second {
		t.Errorf("overflow %s stall %v drain %v, want drop-oldest 0s 10s", s.Overflow, s.StallTimeout, s.DrainTimeout)
	}
}

// A preset brings its longest line, whatever the order; max_line and a later
// file without the preset prevail.
func TestPresetLine(t *testing.T) {
	const head, twisted = "[service.r]\nkind=\"room\"\nlisten=[\"7001\"]\n", "preset=\"twisted\"\n"
	tests := []struct {
		name, text, dropIn string
		want               int
		atEOF              AtEOF
	}{
		{"none", head, "", 4096, Take},
		{"twisted", head + twisted, "", 16384, Drop},
		{"select-chat", head + "preset=\"select-chat\"\n", "", 4096, Take},
		{"max_line before it", head + "max_line=100\n" + twisted, "", 100, Drop},
		{"at_eof before it", head + "at_eof=\"take\"\n" + twisted, "", 16384, Take},
		{"taken back", head + twisted, "[service.r]\npreset=\"\"\n", 4096, Take},
		{"added later", head + "max_line=100\n", "[service.r]\n" + twisted, 100, Drop},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"penstock.toml": tt.text, "conf.d/10.toml": "# none\n" + tt.dropIn})
			c, err := Load(filepath.Join(dir, "penstock.toml"))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.Services[0].MaxLine; got != tt.want {
				t.Errorf("max_line %d, want %d", got, tt.want)
			}
			if got := c.Services[0].AtEOF; got != tt.atEOF {
				t.Errorf("at_eof %q, want %q", got, tt.atEOF)
			}
		})
	}
}

// The shell loop of the built-in handler passes escapes on untouched and does
// not leave messages without text unanswered: their clients wait.
func TestBuiltinHandler(t *testing.T) {
	argv := service(t, Builtin(), "handler").Of.(*Handler).Command
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(`{"conn":7,"event":"message","service":"handler","peer":"127.0.0.1:4000","data":"a \"b\" \\n %s $HOME\n"}
{"conn":8,"event":"message","service":"handler","peer":"127.0.0.1:4001","base64":"/w=="}
{"conn":9,"event":"message","service":"handler","peer":"127.0.0.1:4002","data":""}
`)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	type reply struct {
		Conn int
		Data string
	}
	var got []reply
	for line := range strings.Lines(string(out)) {
		var r reply
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got = append(got, r)
	}
	want := []reply{{7, "you said: a \"b\" \\n %s $HOME\n"}, {8, "you said: no text"}, {9, "you said: "}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestPathSpelledInTwoWays: one file by way of a link is one address.
func TestPathSpelledInTwoWays(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	a, b := filepath.Join(dir, "x.sock"), filepath.Join(dir, "link/x.sock")
	const service = "[service.%s]\nkind = \"echo\"\nlisten = [%q]\n"
	c, err := Parse("x.toml", fmt.Appendf(nil, service+service, "x", a, "y", b))
	want := "x.toml:6: service.y.listen: warning: " + b + " is the same file as " + a + " of service.x; clients reach only one of the two\n"
	if err != nil || c.Warnings.String() != want {
		t.Errorf("Parse() = %v, %v, want %s", err, c.Warnings, want)
	}
}
