// SPDX-License-Identifier: Apache-2.0

package config

import (
	"io/fs"
	"math"
	"strings"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	tests := []struct {
		in   string
		want int64 // -1 is refused
	}{
		{"0", 0},
		{"512", 512},
		{"512B", 512},
		{"64KiB", 64 << 10},
		{"16MiB", 16 << 20},
		{"8GiB", 8 << 30},
		{"9223372036854775807", math.MaxInt64},
		{"8589934592GiB", -1}, // 2^63
		{"", -1},
		{"KiB", -1},
		{"-1", -1},
		{"+1", -1},
		{"64 KiB", -1},
		{"64K", -1},
		{"64KB", -1},
		{"64kib", -1},
		{"1.5MiB", -1},
	}
	for _, tt := range tests {
		got, err := parseSize(tt.in)
		if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", tt.in, got, err, tt.want)
		}
		if err != nil {
			continue
		}
		if again, err := parseSize(formatSize(got)); err != nil || again != got {
			t.Errorf("parseSize(formatSize(%d)) = %d, %v", got, again, err)
		}
	}
}

func TestDuration(t *testing.T) {
	parse := duration(true, time.Second, time.Hour)
	tests := []struct {
		in   any
		want time.Duration // -1 is refused
	}{
		{"0s", 0},
		{"0", 0},
		{"1s", time.Second},
		{"1h", time.Hour},
		{"1m30s", 90 * time.Second},
		{"999ms", -1},
		{"1h1ns", -1},
		{"-1s", -1},
		{"5", -1},
		{int64(5), -1},
		{5.0, -1},
	}
	for _, tt := range tests {
		got, err := parse(tt.in)
		if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("duration of %v = %v, %v, want %v", tt.in, got, err, tt.want)
		}
	}
}

func TestMode(t *testing.T) {
	for in, want := range map[any]fs.FileMode{"0660": 0o660, "777": 0o777, "0": 0} {
		if got, err := mode(in); err != nil || got != want {
			t.Errorf("mode(%v) = %o, %v, want %o", in, got, err, want)
		}
	}
	for _, in := range []any{"1777", "0668", "", "rw", int64(0o660)} {
		if got, err := mode(in); err == nil {
			t.Errorf("mode(%v) = %o, want an error", in, got)
		}
	}
}

func TestAccount(t *testing.T) {
	for _, in := range []string{"", "root", "_svc-1", "0", "1000"} {
		if got, err := account(in); err != nil || got != in {
			t.Errorf("account(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []any{"1a", "-a", "a b", "a\n", "ä", "%i", int64(0), "x2345678901234567890123456789012"} {
		if got, err := account(in); err == nil {
			t.Errorf("account(%q) = %q, want an error", in, got)
		}
	}
}

func TestSuggest(t *testing.T) {
	words := []string{"queue", "deny", "file"}
	for in, want := range map[string]string{
		"qeue": `, did you mean "queue"?`, "queues": `, did you mean "queue"?`,
		"dany": `, did you mean "deny"?`, "x": "", "life": "", "": "",
	} {
		if got := suggest(in, words); got != want {
			t.Errorf("suggest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestIsName(t *testing.T) {
	for in, want := range map[string]bool{
		"a": true, "lobby-2_x": true, strings.Repeat("x", 32): true,
		"": false, strings.Repeat("x", 33): false, "1a": false, "-a": false, "_a": false,
		"aB": false, "a.b": false, "a b": false, "a%n": false, "a\n": false, "ä": false, "aä": false, "a@b": false,
	} {
		if got := isName(in); got != want {
			t.Errorf("isName(%q) = %v, want %v", in, got, want)
		}
	}
}
