// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestOutcomeIsReadAsItWasWritten(t *testing.T) {
	tests := []struct {
		name string
		o    outcome
	}{
		{"applied", outcome{began: 1234567 * time.Microsecond, status: "2 services, 0 connections"}},
		{"refused, with several mistakes", outcome{began: time.Hour, err: errors.New("x.toml:1: a: b\nx.toml:2: c: d")}},
		{"a status that looks like a result", outcome{status: "refused\n7"}},
	}
	folder := t.TempDir()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.o.write(folder); err != nil {
				t.Fatal(err)
			}
			got, ok := readOutcome(folder)
			if !ok || got.began != tt.o.began || got.status != tt.o.status || text(got.err) != text(tt.o.err) {
				t.Errorf("readOutcome() = %+v, %v, want %+v", got, ok, tt.o)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestOutcomeOfNobody: no file, or one that we have not written, is no answer
// and no failure.
func TestOutcomeOfNobody(t *testing.T) {
	folder := t.TempDir()
	if _, ok := readOutcome(folder); ok {
		t.Error("an outcome was read from an empty folder")
	}
	for _, content := range []string{"", "\n\n", "x\napplied\n", "1\nperhaps\n", "1"} {
		if err := os.WriteFile(filepath.Join(folder, outcomeFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if o, ok := readOutcome(folder); ok {
			t.Errorf("%q was read as %+v", content, o)
		}
	}
}

// RuntimeDirectory= may list folders; the unit's first is where the outcome is.
func TestRuntimeFolder(t *testing.T) {
	for _, tt := range []struct{ variable, want string }{
		{"", ""},
		{"/run/penstock/private", "/run/penstock/private"},
		{"/run/first:/run/second", "/run/first"},
	} {
		t.Setenv("RUNTIME_DIRECTORY", tt.variable)
		if got := runtimeFolder(); got != tt.want {
			t.Errorf("with %q: %q, want %q", tt.variable, got, tt.want)
		}
	}
}
