// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/systemd/sdtest"
)

// fakeJournal returns a handler that writes to a journal of the test.
func fakeJournal(t testing.TB, o Options) (*slog.Logger, *Sink, *sdtest.Journal) {
	t.Helper()
	j, err := sdtest.ListenJournal(filepath.Join(sdtest.ShortDir(t), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	o.SocketPath = j.Path
	if o.Identifier == "" {
		o.Identifier = "penstock"
	}
	h, sink := NewHandler(o)
	if h.(*handler).format != formatJournal {
		t.Fatal("the journal's socket was not used")
	}
	t.Cleanup(func() { sink.Close(0) })
	return slog.New(h), sink, j
}

func entry(t testing.TB, j *sdtest.Journal) sdtest.Entry {
	t.Helper()
	e, err := j.Recv(patient)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// entries empties the journal and returns what Fill did not put there.
func entries(t testing.TB, j *sdtest.Journal) (list []sdtest.Entry) {
	t.Helper()
	for {
		e, err := j.Recv(0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := e.Get("X_FILL"); !ok {
			list = append(list, e)
		}
	}
}

func message(e sdtest.Entry) string {
	m, _ := e.Get("MESSAGE")
	return m
}

type nilError struct{}

func (*nilError) Error() string { panic("called on nil") }

type secret string

func (secret) LogValue() slog.Value { return slog.StringValue("hidden") }

// TestJournalRecord compares whole records, fields in order.
func TestJournalRecord(t *testing.T) {
	tests := []struct {
		name string
		log  func(l *slog.Logger)
		want []sdtest.Field
	}{
		{
			"the text shows the attributes, fields carry them",
			func(l *slog.Logger) {
				l.Warn("connection refused", "service", "lobby", "peer", netip.MustParseAddrPort("192.0.2.7:4000"), "bytes_in", 12)
			},
			[]sdtest.Field{
				{Name: "PRIORITY", Value: "4"},
				{Name: "SYSLOG_IDENTIFIER", Value: "penstock"},
				{Name: "MESSAGE", Value: "connection refused service=lobby peer=192.0.2.7:4000 bytes_in=12"},
				{Name: "SERVICE", Value: "lobby"},
				{Name: "PEER", Value: "192.0.2.7:4000"},
				{Name: "BYTES_IN", Value: "12"},
			},
		},
		{
			"the message id is for the catalog, not for people",
			func(l *slog.Logger) {
				l.Info("daemon ready", "message_id", "339586fe9749450eab7da5bb7f4867f8", slog.Group("g", "message_id", 1))
			},
			[]sdtest.Field{
				{Name: "PRIORITY", Value: "6"},
				{Name: "SYSLOG_IDENTIFIER", Value: "penstock"},
				{Name: "MESSAGE", Value: "daemon ready g.message_id=1"},
				{Name: "MESSAGE_ID", Value: "339586fe9749450eab7da5bb7f4867f8"},
				{Name: "G_MESSAGE_ID", Value: "1"},
			},
		},
		{
			"a value with a newline stays one value, and one line in the text",
			func(l *slog.Logger) { l.Error("start failed", "err", errors.New("a\nPRIORITY=0")) },
			[]sdtest.Field{
				{Name: "PRIORITY", Value: "3"},
				{Name: "SYSLOG_IDENTIFIER", Value: "penstock"},
				{Name: "MESSAGE", Value: `start failed err="a\nPRIORITY=0"`},
				{Name: "ERR", Value: "a\nPRIORITY=0"},
			},
		},
		{
			"a message of several lines",
			func(l *slog.Logger) { l.Info("a\nb") },
			[]sdtest.Field{
				{Name: "PRIORITY", Value: "6"},
				{Name: "SYSLOG_IDENTIFIER", Value: "penstock"},
				{Name: "MESSAGE", Value: "a\nb"},
			},
		},
		{
			"groups become prefixes",
			func(l *slog.Logger) {
				l.With("a", 1).WithGroup("http").With("status", 404).Info("m", slog.Group("req", "id", 7), slog.Attr{})
			},
			[]sdtest.Field{
				{Name: "PRIORITY", Value: "6"},
				{Name: "SYSLOG_IDENTIFIER", Value: "penstock"},
				{Name: "MESSAGE", Value: "m a=1 http.status=404 http.req.id=7"},
				{Name: "A", Value: "1"},
				{Name: "HTTP_STATUS", Value: "404"},
				{Name: "HTTP_REQ_ID", Value: "7"},
			},
		},
		{
			"every kind of value",
			func(l *slog.Logger) {
				l.Info("m", "f", 1.5, "b", true, "u", uint8(3), "d", 90*time.Second, "t", time.Unix(0, 0).UTC(),
					"raw", []byte("xy"), "any", []int{1, 2}, "none", nil, "lv", secret("s"), "panics", error((*nilError)(nil)))
			},
			[]sdtest.Field{
				{Name: "PRIORITY", Value: "6"},
				{Name: "SYSLOG_IDENTIFIER", Value: "penstock"},
				{Name: "MESSAGE", Value: `m f=1.5 b=true u=3 d=1m30s t=1970-01-01T00:00:00Z raw=xy any="[1 2]"` +
					` none=<nil> lv=hidden panics="!PANIC: called on nil"`},
				{Name: "F", Value: "1.5"},
				{Name: "B", Value: "true"},
				{Name: "U", Value: "3"},
				{Name: "D", Value: "1m30s"},
				{Name: "T", Value: "1970-01-01T00:00:00Z"},
				{Name: "RAW", Value: "xy"},
				{Name: "ANY", Value: "[1 2]"},
				{Name: "NONE", Value: "<nil>"},
				{Name: "LV", Value: "hidden"},
				{Name: "PANICS", Value: "!PANIC: called on nil"},
			},
		},
	}
	l, _, j := fakeJournal(t, Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.log(l)
			if diff := cmp.Diff(tt.want, entry(t, j).Fields); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestJournalSource(t *testing.T) {
	l, _, j := fakeJournal(t, Options{AddSource: true})
	l.Info("m")
	e := entry(t, j)
	file, _ := e.Get("CODE_FILE")
	line, _ := e.Get("CODE_LINE")
	fn, _ := e.Get("CODE_FUNC")
	if !strings.HasSuffix(file, "journal_test.go") || line == "" || !strings.HasSuffix(fn, "TestJournalSource") {
		t.Errorf("got %s:%s %s", file, line, fn)
	}
	l.Handler().Handle(t.Context(), slog.Record{Message: "no program counter"})
	if _, ok := entry(t, j).Get("CODE_FILE"); ok {
		t.Error("CODE_FILE of a record without source")
	}
}

// TestJournalIdentifier: an identifier cannot begin a field of its own.
func TestJournalIdentifier(t *testing.T) {
	for name, want := range map[string]string{"a\nPRIORITY=0": "a_PRIORITY=0", "": filepath.Base(os.Args[0])} {
		_, sink := NewHandler(Options{Identifier: name, Stderr: &strings.Builder{}})
		if got := sink.form.(*handler).identifier; got != "SYSLOG_IDENTIFIER="+want+"\n" {
			t.Errorf("Identifier %q: got %q, want %q", name, got, want)
		}
	}
}

// TestLevelChanges: a reload may change the level without a new handler.
func TestLevelChanges(t *testing.T) {
	var level slog.LevelVar
	h, _ := NewHandler(Options{Level: &level, Stderr: &strings.Builder{}})
	derived := h.WithGroup("g").WithAttrs([]slog.Attr{slog.Int("a", 1)})
	if derived.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("debug is on by default")
	}
	level.Set(slog.LevelDebug)
	if !derived.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("debug is off after the level was lowered")
	}
}

// TestJournalTruncates: a record ends at 64 KiB, says that it was cut, and is
// still one that journald takes. Bytes and characters stay whole.
func TestJournalTruncates(t *testing.T) {
	big := strings.Repeat("ü", 100<<10)
	many := make([]any, 0, 4000)
	for range 2000 {
		many = append(many, "key", strings.Repeat("v", 50))
	}
	tests := []struct {
		name string
		log  func(l *slog.Logger)
		cut  bool
	}{
		{"small", func(l *slog.Logger) { l.Info("m", "k", "v") }, false},
		{"one large value", func(l *slog.Logger) { l.Info("m", "k", big, "after", "x") }, true},
		{"many values", func(l *slog.Logger) { l.Info("m", many...) }, true},
		{"before the record", func(l *slog.Logger) { l.With("k", big).With("k", big).Info("m", "k", big) }, true},
		{"large message", func(l *slog.Logger) { l.Info(big, "k", "v") }, true},
		{"text that grows by quoting", func(l *slog.Logger) { l.Info("m", "k", strings.Repeat("\x00", 14<<10)) }, true},
		{"newlines, where each value has a length", func(l *slog.Logger) { l.Info("m", "k", strings.Repeat("\n", 100<<10)) }, true},
	}
	l, _, j := fakeJournal(t, Options{AddSource: true, Identifier: strings.Repeat("i", 100)})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.log(l)
			e := entry(t, j)
			size := 0
			for _, f := range e.Fields {
				size += len(f.Name) + len("=\n") + len(f.Value)
				if strings.Contains(f.Value, "\n") {
					size += 8 // its length
				}
				if strings.ToValidUTF8(f.Value, "") != f.Value {
					t.Errorf("field %s was cut inside a character", f.Name)
				}
			}
			if size > maxRecord {
				t.Errorf("record has %d bytes", size)
			}
			if v, ok := e.Get("TRUNCATED"); ok != tt.cut || ok && v != "1" {
				t.Errorf("TRUNCATED = %q, %v, want %v", v, ok, tt.cut)
			}
			if tt.cut && !strings.Contains(message(e), cutMark) {
				t.Errorf("message does not say that it was cut: ...%s", tail(message(e)))
			}
		})
	}
}

// TestSlogRulesJournal runs the standard library's checks of a handler. The
// records go through the queue, because only there they carry their time.
func TestSlogRulesJournal(t *testing.T) {
	var j *sdtest.Journal
	var sink *Sink
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		var l *slog.Logger
		l, sink, j = fakeJournal(t, Options{Level: slog.LevelDebug})
		if _, err := j.Fill(); err != nil {
			t.Fatal(err)
		}
		return l.Handler()
	}, func(t *testing.T) map[string]any {
		entries(t, j)
		if n := sink.Flush(); n != 0 {
			t.Errorf("%d records still wait", n)
		}
		return nested(entry(t, j))
	})
}

// nested undoes the naming of fields, as far as the keys of slogtest go:
// groups are upper-case letters, keys lower-case ones.
func nested(e sdtest.Entry) map[string]any {
	m := map[string]any{}
	for _, f := range e.Fields {
		switch f.Name {
		case "PRIORITY":
			m[slog.LevelKey] = f.Value
		case "MESSAGE":
			m[slog.MessageKey], _, _ = strings.Cut(f.Value, " ")
		case "RECORD_REALTIME_USEC":
			m[slog.TimeKey] = f.Value
		case "SYSLOG_IDENTIFIER":
		default:
			path := strings.Split(f.Name, "_")
			in := m
			for _, g := range path[:len(path)-1] {
				if in[g] == nil {
					in[g] = map[string]any{}
				}
				in = in[g].(map[string]any)
			}
			in[strings.ToLower(path[len(path)-1])] = f.Value
		}
	}
	return m
}
