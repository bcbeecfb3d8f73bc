// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"penstock/systemd/sdtest"
)

func TestFieldName(t *testing.T) {
	tests := []struct{ name, prefix, key, want string }{
		{"lower case", "", "peer", "PEER"},
		{"group", "http.", "status", "HTTP_STATUS"},
		{"punctuation", "", "bytes-in.total", "BYTES_IN_TOTAL"},
		{"an equals sign and a newline would forge a field", "", "a=1\nPRIORITY", "A_1_PRIORITY"},
		{"one underscore a character, not a byte", "", "größe", "GR__E"},
		{"not UTF-8", "", "a\xffb", "A_B"},
		{"journald drops names with an underscore in front", "", "__pid", "PID"},
		{"journald drops names with a digit in front", "", "2xx", "ATTR_2XX"},
		{"digit after a dropped underscore", "", "_2xx", "ATTR_2XX"},
		{"written by the handler itself", "", "priority", "ATTR_PRIORITY"},
		{"not reserved inside a group", "x.", "message", "X_MESSAGE"},
		{"catalog", "", "message_id", "MESSAGE_ID"},
		{"nothing left", "", "...", ""},
		{"empty", "", "", ""},
		{"as long as journald takes", "", strings.Repeat("k", 64), strings.Repeat("K", 64)},
		{"longer", "", strings.Repeat("k", 65), strings.Repeat("K", 64)},
		{"longer with a prefix", "", strings.Repeat("1", 64), "ATTR_" + strings.Repeat("1", 59)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(appendFieldName([]byte("="), []byte(tt.prefix), tt.key)); got != "="+tt.want {
				t.Errorf("appendFieldName(%q, %q) = %q, want %q", tt.prefix, tt.key, got[1:], tt.want)
			}
		})
	}
}

// TestJournalPriorities maps the levels between the named ones too.
func TestJournalPriorities(t *testing.T) {
	tests := []struct {
		level slog.Level
		want  string
		text  string
	}{
		{slog.LevelDebug, "7", "debug"},
		{slog.LevelInfo - 1, "7", "debug+3"},
		{slog.LevelInfo, "6", "info"},
		{slog.LevelInfo + 2, "5", "info+2"},
		{slog.LevelWarn, "4", "warn"},
		{slog.LevelError, "3", "error"},
		{slog.LevelError + 4, "2", "error+4"},
	}
	for _, tt := range tests {
		if got := string(priority(tt.level)); got != tt.want {
			t.Errorf("priority(%v) = %s, want %s", tt.level, got, tt.want)
		}
		if got := string(appendLevel(nil, tt.level)); got != tt.text {
			t.Errorf("appendLevel(%v) = %s, want %s", tt.level, got, tt.text)
		}
	}
}

// FuzzJournal: whatever is logged, journald finds the fields that were meant
// and no others.
func FuzzJournal(f *testing.F) {
	f.Add("m", "g", "key", "value", "a=1\nPRIORITY=0\n", "\n\x08\x00\x00\x00\x00\x00\x00\x00")
	f.Add("m\nMESSAGE_ID=x", "_", "priority", "", "2", "\xff")
	f.Add(strings.Repeat("m", 20<<10), "", "k\x00", strings.Repeat("\n", 70<<10), "ü", "x")
	f.Fuzz(func(t *testing.T, msg, group, k1, v1, k2, v2 string) {
		h := &handler{level: slog.LevelInfo, identifier: "SYSLOG_IDENTIFIER=fuzz\n"}
		var sent capture
		h.sink = &Sink{form: h, out: &sent}
		slog.New(h).With(k1, v1).WithGroup(group).Info(msg, k2, v2)

		got, err := sdtest.ParseNative(sent.last)
		if err != nil {
			t.Fatalf("journald would refuse %q: %v", sent.last, err)
		}
		if len(sent.last) > maxRecord {
			t.Fatalf("record of %d bytes", len(sent.last))
		}
		names := []string{"PRIORITY", "SYSLOG_IDENTIFIER", "MESSAGE"}
		var values []string
		prefix := ""
		if group != "" {
			prefix = group + "."
		}
		for _, a := range [][3]string{{"", k1, v1}, {prefix, k2, v2}} {
			if name := string(appendFieldName(nil, []byte(a[0]), a[1])); name != "" {
				names, values = append(names, name), append(values, a[2])
			}
		}
		if got[len(got)-1].Name == "TRUNCATED" {
			return // what was cut is another test's matter
		}
		if len(got) != len(names) {
			t.Fatalf("got %d fields %q, want %q", len(got), got, names)
		}
		for i, f := range got {
			if f.Name != names[i] || i >= 3 && f.Value != values[i-3] {
				t.Errorf("field %d is %q, want %s", i, f, names[i])
			}
		}
		if got[0].Value != "6" || got[1].Value != "fuzz" || !strings.HasPrefix(got[2].Value, msg) {
			t.Errorf("head is %q", got[:3])
		}
	})
}

// capture is a transport that keeps the last record.
type capture struct{ last []byte }

func (c *capture) send(p []byte) (int, error) {
	c.last = append(c.last[:0], p...)
	return len(p), nil
}
func (c *capture) wait(time.Time) bool { return false }
func (c *capture) close() error        { return nil }

// TestHandlerDoesNotAllocate: a log line of the daemon's usual kinds costs no
// garbage, so that a burst of refused clients is no burst of collections.
func TestHandlerDoesNotAllocate(t *testing.T) {
	for _, f := range []format{formatJournal, formatPriority, formatPlain} {
		h := &handler{level: slog.LevelInfo, identifier: "SYSLOG_IDENTIFIER=x\n", format: f}
		h.sink = &Sink{form: h, out: &capture{}}
		l := slog.New(h).With("service", "lobby")
		got := testing.AllocsPerRun(100, func() {
			l.LogAttrs(t.Context(), slog.LevelWarn, "connection refused",
				slog.String("peer", "192.0.2.7:4000"), slog.Int("limit", 64), slog.String("reason", "too many"))
		})
		// The pool may be emptied by a collection in between.
		if got >= 1 && !raceEnabled {
			t.Errorf("format %d: %v allocations a record", f, got)
		}
	}
}

func BenchmarkHandler(b *testing.B) {
	bench := func(name string, f format) {
		b.Run(name, func(b *testing.B) {
			var out capture
			h := &handler{level: slog.LevelInfo, identifier: "SYSLOG_IDENTIFIER=penstock\n", format: f}
			h.sink = &Sink{form: h, out: &out}
			l := slog.New(h).With("service", "lobby")
			b.ReportAllocs()
			for b.Loop() {
				l.LogAttrs(b.Context(), slog.LevelWarn, "connection refused", slog.String("message_id", "97e8cbe119ff4244a432459954537a74"),
					slog.String("peer", "192.0.2.7:4000"), slog.Int("limit", 64), slog.String("reason", "too many"))
			}
			b.SetBytes(int64(len(out.last)))
		})
	}
	bench("journal", formatJournal)
	bench("text", formatPlain)
}
