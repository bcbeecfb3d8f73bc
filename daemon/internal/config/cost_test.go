// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestManyMistakes: the first hundred are listed, each on its line, the rest is
// counted, and the time is that of the text's length. All of these took minutes,
// or tens of thousands of lines, when each mistake looked through the text.
func TestManyMistakes(t *testing.T) {
	service := func(i int, rest string) string { return fmt.Sprintf("[service.s%d]\nkind='echo'\n%s\n", i, rest) }
	repeat := func(n int, f func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(f(i))
		}
		return b.String()
	}
	tests := []struct {
		name, text string
		want       int // mistakes
	}{
		{"wrong values", repeat(4000, func(i int) string { return service(i, "listen=1\nqueue=1\nbacklog=0\nmax_line=0") }), 16000},
		{"one port", repeat(300, func(i int) string { return service(i, "listen=['7000']") }), 299},
		{"one port, many addresses", repeat(4000, func(i int) string {
			return service(i, fmt.Sprintf("listen=['127.%d.%d.1:7000','127.%d.%d.2:7000']", i/256, i%256, i/256, i%256))
		}) + "[service.z]\nkind='echo'\nlisten=['7000']\n", 1},
		{"services", repeat(40000, func(i int) string { return fmt.Sprintf("[service.s%d]\n", i) }), 2*maxServices + 1},
		{"unknown keys", head + repeat(60000, func(i int) string { return fmt.Sprintf("k%d=1\n", i) }), 60000},
		{"a long unknown key", head + strings.Repeat("k", 1000000) + "=1\n", 1},
		{"keys given twice", head + strings.Repeat("queue=4096\n", 60000), 59999},
		{"services given twice", strings.Repeat(head, 10000), 9999},
		{"items", head + "deny=[" + strings.Repeat("'x',", 200000) + "]\n", 200000},
		{"users", head + "allow_uid=[" + strings.Repeat("'no such',", 100000) + "]\n", 100000},
		{"a long value", head + "overflow='" + strings.Repeat("\\", 1000000) + "'\n", 1},
		{"words without quotes", head + "deny=[" + strings.Repeat("x,", 400000) + "]\n", 400000},
		{"questions", of(KindLookup) + "answers={" + strings.TrimSuffix(strings.Repeat("a='1',", 150000), ",") + "}\n", 149999},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			began := worked(t)
			_, err := Parse("x.toml", []byte(tt.text))
			took := worked(t) - began
			mistakes, ok := errors.AsType[Errors](err)
			if !ok {
				t.Fatalf("Parse = %v, want Errors", err)
			}
			listed, more := mistakes, 0
			if n := len(mistakes); n > maxMistakes {
				listed = mistakes[:n-1]
				if _, err := fmt.Sscanf(mistakes[n-1].String(), "and %d more", &more); err != nil {
					t.Errorf("the last line is %q, want a count", mistakes[n-1])
				}
			}
			if got := len(listed) + more; got != tt.want || len(listed) > maxMistakes {
				t.Errorf("%d mistakes, %d listed, want %d", got, len(listed), tt.want)
			}
			for _, m := range listed {
				if m.File != "x.toml" || m.Line == 0 || len(m.String()) > 3*maxQuoted {
					t.Errorf("%.200q has no file and line, or is too long", m.String())
				}
			}
			if took > 20*time.Second { // some hundredths, unless it is a square
				t.Errorf("it took %v", took)
			}
		})
	}
}

// worked returns the time that this process has had of the processors, however
// busy the machine is.
func worked(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestOccupancy compares the table of what is taken with a look at each pair.
func TestOccupancy(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	hosts := []string{"[::]", "0.0.0.0", "127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]", "/run/x", "@x"}
	devices := []string{"", "", "a", "b"}
	for range 20000 {
		taken, before := occupancy{}, []opened{}
		for range 4 {
			host := hosts[rng.IntN(len(hosts))]
			text := host
			if host[0] != '/' && host[0] != '@' {
				text = fmt.Sprintf("%s:%d", host, 1+rng.IntN(2))
			}
			a, err := ParseAddress(text)
			if err != nil {
				t.Fatal(err)
			}
			o := opened{device: devices[rng.IntN(len(devices))], Address: a}
			if a.Network == "unix" {
				o.device, o.path = "", a.Path
			}
			want := false
			for _, b := range before {
				apart := o.device != "" && b.device != "" && o.device != b.device
				want = want || !apart && o.Overlaps(b.Address)
			}
			if other, got := taken.clash(o); got != want {
				t.Fatalf("%v on %q after %v: clash %v (%v), want %v", o.Text, o.device, before, got, other.Text, want)
			}
			taken.add(o)
			before = append(before, o)
		}
	}
}

// TestOneSocketFile: one path in two spellings is one path. Those that 0.1.0 took
// for two are served with a warning.
func TestOneSocketFile(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o755), os.Symlink("real", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ a, b string }{
		{dir + "/real/x.sock", dir + "/link/x.sock"},
		{dir + "/real/x.sock", dir + "//real/./x.sock"},
		{dir + "/real/x.sock", dir + "/real/../real/x.sock"},
		{dir + "/none/x.sock", dir + "/none//x.sock"},
	}
	if fi, err := os.Lstat("/var/run"); err == nil && fi.Mode().Type() == os.ModeSymlink {
		tests = append(tests, struct{ a, b string }{"/run/x.sock", "/var/run/x.sock"})
	}
	for _, tt := range tests {
		for _, devices := range [][2]string{{"", ""}, {"a", "b"}} {
			c, err := Parse("x.toml", fmt.Appendf(nil, "[service.a]\nkind='echo'\nlisten=['%s']\nbind_device='%s'\n[service.b]\nkind='echo'\nlisten=['%s']\nbind_device='%s'\n",
				tt.a, devices[0], tt.b, devices[1]))
			plain := devices[0] == "" && path.Clean(tt.a) == path.Clean(tt.b)
			if said := fmt.Sprint(err, c.Warnings); !strings.Contains(said, "service.b.listen") || plain != (err != nil) {
				t.Errorf("%s beside %s: %v, want a mistake %v or else a warning", tt.a, tt.b, said, plain)
			}
		}
	}
}

// TestOddFiles: whatever the main file, a drop-in or a file of answers is, the
// answer is a mistake and comes at once.
func TestOddFiles(t *testing.T) {
	const main = "[service.l]\nkind='lookup'\nlisten=['7001']\nfile='answers.toml'\n"
	good := map[string]string{"p.toml": main, "conf.d/10.toml": "# none\n", "answers.toml": "a='1'\n"}
	limits := map[string]int{"p.toml": maxFile, "conf.d/10.toml": maxFile, "answers.toml": maxFile}
	odd := map[string]struct {
		put  func(path string) error
		want string
	}{
		"fifo":      {func(p string) error { return unix.Mkfifo(p, 0o644) }, "is not a regular file"},
		"folder":    {func(p string) error { return os.Mkdir(p, 0o755) }, "is not a regular file"},
		"device":    {func(p string) error { return os.Symlink("/dev/zero", p) }, "is not a regular file"},
		"null":      {func(p string) error { return os.Symlink("/dev/null", p) }, "is not a regular file"},
		"link":      {func(p string) error { return os.Symlink("nowhere", p) }, "no such file"},
		"circle":    {func(p string) error { return os.Symlink(p, p) }, "too many levels"},
		"empty":     {func(p string) error { return os.WriteFile(p, nil, 0o644) }, "is empty, as a power cut"},
		"zero":      {func(p string) error { return os.WriteFile(p, make([]byte, 4096), 0o644) }, "zero byte"},
		"too large": {func(p string) error { return os.Truncate(p, 4*maxFile) }, "is larger than"},
		"deep":      {func(p string) error { return os.WriteFile(p, []byte("a="+strings.Repeat("[", 1<<20-2)), 0o644) }, "nested deeper"},
		"dots":      {func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("a.", 20000)+"a=1"), 0o644) }, "nested deeper"},
	}
	for name, limit := range limits {
		for kind, o := range odd {
			if kind == "null" && name == "p.toml" {
				continue // is meant, see TestUpgrade
			}
			dir := t.TempDir()
			write(t, dir, good)
			path := filepath.Join(dir, name)
			if kind != "too large" {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.put(path); err != nil {
				t.Fatal(err)
			}
			c, err := Load(filepath.Join(dir, "p.toml"))
			if err == nil || !strings.Contains(err.Error(), o.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s is %s: %v, want its name and %q", name, kind, err, o.want)
			}
			if (c == nil) == errors.As(err, new(Errors)) {
				t.Errorf("%s is %s: a configuration %v beside %T", name, kind, c, err)
			}
			if kind == "too large" && !strings.Contains(err.Error(), formatSize(int64(limit))) {
				t.Errorf("%s: %v, want its bound, %s", name, err, formatSize(int64(limit)))
			}
			if c, err := (Loader{Sockets: true}).Load(filepath.Join(dir, "p.toml")); name == "answers.toml" && (err != nil || len(c.Services) != 1) {
				t.Errorf("with interest in sockets alone: %v, want the service whatever its table is", err)
			}
		}
	}
}

// TestSocketsAlone: a reading that is about sockets alone opens no table and no
// file of quotes, so none of them can be in its way.
func TestSocketsAlone(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"p.toml": "[service.l]\nkind='lookup'\nlisten=['7001']\nfile='none.toml'\n" +
			"[service.q]\nkind='qotd'\nlisten=['7002']\nfile='none'\n",
	})
	c, err := Loader{Sockets: true}.Load(filepath.Join(dir, "p.toml"))
	if err != nil || len(c.Services) != 2 {
		t.Errorf("Load = %v, %v, want both services though their files are missing", c, err)
	}
}

// TestAllFiles: many drop-ins together have a bound as well.
func TestAllFiles(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"p.toml": head}
	for i := range 5 {
		files[fmt.Sprintf("conf.d/%d.toml", i)] = ""
	}
	write(t, dir, files)
	for i := range 5 {
		if err := os.Truncate(filepath.Join(dir, fmt.Sprintf("conf.d/%d.toml", i)), 15*mib); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Load(filepath.Join(dir, "p.toml"))
	if err == nil || !strings.Contains(err.Error(), "4.toml: is too large: all files together may have 64MiB") {
		t.Errorf("Load = %v, want a mistake", err)
	}
}

// TestNothing: an error says whether it is no more than that nothing is served.
func TestNothing(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, " \n": true, "# x\n": true, "[limits]\nconnections=1\n": true, "[service]\n": true,
		"[limits]\nconnections=0\n": false, "x": false, "[service.x]\n": false,
	} {
		if _, err := Parse("x.toml", []byte(text)); errors.Is(err, ErrNothing) != want || err == nil {
			t.Errorf("%q: %v, is ErrNothing %v, want %v", text, err, !want, want)
		}
	}
}

// TestLoadGivesUp: what Pause returns comes back, wherever it was.
func TestLoadGivesUp(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"p.toml":       "[service.l]\nkind='lookup'\nlisten=['7001']\nfile='answers.toml'\n",
		"answers.toml": strings.Repeat("# a comment\n", 2000) + "a='1'\n",
	})
	stop := errors.New("stop")
	pauses := 1 << 30
	load := func(after int) (*Config, error) {
		n := 0
		return Loader{Pause: func() error {
			if n++; n > after {
				return stop
			}
			pauses = n
			return nil
		}}.Load(filepath.Join(dir, "p.toml"))
	}
	if _, err := load(1 << 30); err != nil || pauses < 5 {
		t.Fatalf("%v with %d pauses, want some", err, pauses)
	}
	for after := range pauses {
		if c, err := load(after); c != nil || !errors.Is(err, stop) {
			t.Errorf("after %d pauses: %v, %v, want nil and what Pause returned", after, c, err)
		}
	}
}

// TestAnswersAreNotCopied: what reading a large table of answers allocates is held to the
// length of its file, and so is the peak of the process that follows from it. A second
// copy of the table at any time would be 1.3 bytes more for each.
func TestAnswersAreNotCopied(t *testing.T) {
	var text strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&text, "\"What is the value of point %d?\" = \"The value of point %d is %d degrees.\\n\"\n", i, i, i%37)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	write("answers.toml", text.String())
	const head = "[service.a]\nkind='lookup'\nlisten=['7000']\n"
	for _, tt := range []struct{ name, conf string }{
		{"in a file", head + "file='answers.toml'\n"},
		{"in the key", head + "[service.a.answers]\n" + text.String()},
	} {
		path := write("penstock.toml", tt.conf)
		before := debug.SetGCPercent(100)
		var from, to runtime.MemStats
		runtime.ReadMemStats(&from)
		c, err := Load(path)
		runtime.ReadMemStats(&to)
		after := debug.SetGCPercent(before)
		if err != nil {
			t.Fatal(err)
		}
		each := float64(to.TotalAlloc-from.TotalAlloc) / float64(text.Len())
		t.Logf("%s: %.1f bytes allocated for each", tt.name, each)
		if each > 6.8 {
			t.Errorf("%s: %.1f bytes allocated for each of the table, want 6.8 at most", tt.name, each)
		}
		if n := len(c.Services[0].Of.(*Lookup).Answers); n != 20000 {
			t.Errorf("%s: %d answers, want 20000", tt.name, n)
		}
		if after != 100 {
			t.Errorf("%s: the collector is left at %d percent, want it as it was", tt.name, after)
		}
	}
}
