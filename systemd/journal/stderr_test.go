// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"golang.org/x/sys/unix"

	"penstock/systemd/sdtest"
)

// logToStderr is the program of TestNewHandlerPicks: it logs one record with
// whatever NewHandler picks.
func logToStderr() {
	h, sink := NewHandler(Options{Identifier: "probe", SocketPath: os.Getenv("SYSTEMD_TEST_SOCKET")})
	slog.New(h).Warn("connection refused", "service", "lobby")
	sink.Close(time.Second)
}

// TestNewHandlerPicks starts a process for each kind of standard error.
func TestNewHandlerPicks(t *testing.T) {
	dir := sdtest.ShortDir(t)
	j, err := sdtest.ListenJournal(filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	missing := filepath.Join(dir, "missing")

	const line = "connection refused service=lobby\n"
	tests := []struct {
		name   string
		open   func(t *testing.T) (stderr, read *os.File)
		stream func(stderr *os.File) string // JOURNAL_STREAM
		socket string
		want   string // regular expression; "" means the journal got it
	}{
		{"a pipe, whose reader stamps", pipeFiles, nil, "", "^warn " + line + "$"},
		{"a socket", socketFiles, nil, "", "^warn " + line + "$"},
		{"a file, which nobody stamps", plainFile, nil, "", `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(Z|[+-]\d\d:\d\d) warn ` + line + "$"},
		{"the journal", socketFiles, journalStream, j.Path, ""},
		{"the journal, but its native socket is out of reach", socketFiles, journalStream, missing, "^<4>" + line + "$"},
		{"redirected below a service", pipeFiles, func(*os.File) string { return "1:1" }, missing, "^warn " + line + "$"},
		{"JOURNAL_STREAM is garbage", pipeFiles, func(*os.File) string { return "x" }, missing, "^warn " + line + "$"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stderr, read := tt.open(t)
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
			cmd.Env = append(sdtest.Environ(), "SYSTEMD_TEST_ROLE=stderr", "SYSTEMD_TEST_SOCKET="+tt.socket, "JOURNAL_STREAM=")
			if tt.stream != nil {
				cmd.Env = append(cmd.Env, "JOURNAL_STREAM="+tt.stream(stderr))
			}
			cmd.Stderr = stderr
			err := cmd.Run()
			sdtest.SkipEmulated(t, err)
			if err != nil {
				t.Fatal(err)
			}
			stderr.Close()
			var got bytes.Buffer
			if _, err := got.ReadFrom(read); err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				e := entry(t, j)
				id, _ := e.Get("SYSLOG_IDENTIFIER")
				if message(e)+"\n" != line || id != "probe" || got.Len() > 0 {
					t.Errorf("journal got %q, stderr %q", e.Fields, got.String())
				}
				return
			}
			if !regexp.MustCompile(tt.want).Match(got.Bytes()) {
				t.Errorf("stderr got %q, want %s", got.String(), tt.want)
			}
		})
	}
}

// journalStream is what systemd sets: device and inode of the stream.
func journalStream(stderr *os.File) string {
	var st unix.Stat_t
	if err := unix.Fstat(int(stderr.Fd()), &st); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

func pipeFiles(t *testing.T) (w, r *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return w, r
}

func socketFiles(t *testing.T) (w, r *os.File) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	w, r = os.NewFile(uintptr(p[0]), "socket"), os.NewFile(uintptr(p[1]), "socket")
	t.Cleanup(func() { r.Close(); w.Close() })
	return w, r
}

func plainFile(t *testing.T) (w, r *os.File) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "log")
	w, err1 := os.Create(name)
	r, err2 := os.Open(name)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return w, r
}

// TestTextLines compares whole lines.
func TestTextLines(t *testing.T) {
	long := strings.Repeat("x", 5000)
	tests := []struct {
		name string
		log  func(l *slog.Logger)
		want string
	}{
		{"no attributes", func(l *slog.Logger) { l.Info("daemon ready") }, "info daemon ready\n"},
		{"no message id", func(l *slog.Logger) { l.Info("m", "message_id", "1", "a", 2) }, "info m a=2\n"},
		{"a message is one line", func(l *slog.Logger) { l.Info("a\nb\x1b[31m\xff") }, `info a\nb\x1b[31m\xff` + "\n"},
		{"values that would mislead", func(l *slog.Logger) {
			l.Info("m", "empty", "", "space", "a b", "pair", "a=b", "quote", `"\`, "ctl", "\x1b\t\r\n\x7f", "bad", "\xff", "ok", "grüße", "bidi", "\u202e")
		}, `info m empty="" space="a b" pair="a=b" quote="\"\\" ctl="\x1b\t\r\n\x7f" bad="\xff" ok=grüße bidi="\xe2\x80\xae"` + "\n"},
		{"keys too", func(l *slog.Logger) { l.WithGroup("a b").Info("m", "c=d", 1) }, `info m "a b.c=d"=1` + "\n"},
		{"as long as a pipe takes in one piece", func(l *slog.Logger) { l.Info("m", "k", long) }, "info m k=" + long[:4096-9-len(cutMark)-1] + cutMark + "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			h, _ := NewHandler(Options{Stderr: &out})
			tt.log(slog.New(h))
			if got := out.String(); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestSlogRulesText runs the standard library's checks on the lines.
func TestSlogRulesText(t *testing.T) {
	var out capture
	slogtest.Run(t, func(*testing.T) slog.Handler {
		h := &handler{level: slog.LevelDebug, format: formatPlain, stamp: true}
		h.sink = &Sink{form: h, out: &out}
		return h
	}, func(t *testing.T) map[string]any {
		m := map[string]any{}
		words := strings.Fields(string(out.last))
		if _, err := time.Parse(time.RFC3339, words[0]); err == nil {
			m[slog.TimeKey], words = words[0], words[1:]
		}
		m[slog.LevelKey], m[slog.MessageKey] = words[0], words[1]
		for _, w := range words[2:] {
			key, value, _ := strings.Cut(w, "=")
			in, path := m, strings.Split(key, ".")
			for _, g := range path[:len(path)-1] {
				if in[g] == nil {
					in[g] = map[string]any{}
				}
				in = in[g].(map[string]any)
			}
			in[path[len(path)-1]] = value
		}
		return m
	})
}

// TestStreamNeverBlocks: a reader of standard error that stands still, journald
// among them, must not stop the loop, and nobody's descriptor flags change.
func TestStreamNeverBlocks(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (w, r *os.File){"pipe": pipeFiles, "socket": socketFiles} {
		t.Run(name, func(t *testing.T) {
			w, r := open(t)
			fd := int(w.Fd()) // Fd makes it blocking, as a shell's stderr is
			h := &handler{level: slog.LevelInfo, format: formatPriority}
			h.sink = &Sink{form: h, out: newStream(fd)}
			l := slog.New(h)
			const n = 5000
			for i := range n {
				l.Info("m", "i", i, "pad", strings.Repeat("x", 200))
			}
			if h.sink.Flush() == 0 {
				t.Fatal("nothing waits: the reader's buffer was not full")
			}
			if fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK != 0 {
				t.Errorf("O_NONBLOCK was set on a shared descriptor (%v)", err)
			}
			done := make(chan string, 1)
			go func() {
				var all bytes.Buffer
				all.ReadFrom(r)
				done <- all.String()
			}()
			if left := h.sink.Close(patient); left != 0 {
				t.Errorf("%d records left", left)
			}
			w.Close()
			got := strings.Split(strings.TrimSuffix(<-done, "\n"), "\n")
			kept, dropped := 0, 0
			for _, line := range got {
				if _, err := fmt.Sscanf(line, "<4>log messages dropped dropped=%d", &dropped); err == nil {
					continue
				}
				if !strings.HasPrefix(line, fmt.Sprintf("<6>m i=%d pad=", kept)) {
					t.Fatalf("line %d is %.40q", kept, line)
				}
				kept++
			}
			if kept+dropped != n {
				t.Errorf("%d lines and %d dropped, want %d together", kept, dropped, n)
			}
		})
	}
}

// TestStreamWithoutReader: a broken pipe costs the log, not the process.
func TestStreamWithoutReader(t *testing.T) {
	for name, open := range map[string]func(*testing.T) (w, r *os.File){"pipe": pipeFiles, "socket": socketFiles} {
		t.Run(name, func(t *testing.T) {
			w, r := open(t)
			r.Close()
			s := newStream(int(w.Fd()))
			if _, err := s.send([]byte("x\n")); err != unix.EPIPE {
				t.Errorf("send() = %v, want %v", err, unix.EPIPE)
			}
		})
	}
	s := newStream(1 << 20)
	if _, err := s.send([]byte("x\n")); err != unix.EBADF {
		t.Errorf("closed descriptor: send() = %v, want %v", err, unix.EBADF)
	}
}
