// SPDX-License-Identifier: Apache-2.0

package systemctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fake puts a systemctl on PATH that runs script.
func fake(t *testing.T, script string) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "systemctl"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
}

// TestShow reads what systemctl of systemd 257 printed.
func TestShow(t *testing.T) {
	fake(t, `cat <<'END'
Listen=127.0.0.1:7001 (Stream)
Listen=/run/mix it%.sock (Stream)
Listen=@abs\"q\\x y (Stream)
Listen=[::1]:7002 (Stream)
Listen=/run/fifo (FIFO)
Result=success
Id=penstock-mix.socket
LoadState=loaded
ActiveState=active
SubState=listening

Result=success
Id=nosuch.socket
LoadState=not-found
ActiveState=inactive
SubState=dead

Id=nosuch.socket
LoadState=not-found

MainPID=17
User=penstock
StatusText=2 services, 1=one
Id=penstock.service
END
`)
	want := []Unit{
		{
			ID: "penstock-mix.socket", Load: "loaded", Active: "active", Sub: "listening", Result: "success",
			Listen: []string{"127.0.0.1:7001", "/run/mix it%.sock", `@abs"q\x y`, "[::1]:7002"},
		},
		{ID: "nosuch.socket", Load: "not-found", Active: "inactive", Sub: "dead", Result: "success"},
		{ID: "penstock.service", MainPID: 17, User: "penstock", Status: "2 services, 1=one"},
	}
	got, err := Show("penstock-*.socket", "nosuch.socket")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestUnescape(t *testing.T) {
	tests := []struct{ in, want string }{
		{`plain`, `plain`},
		{`a\\b\"c\'d`, `a\b"c'd`},
		{`\303\274\xc3\xbc`, "üü"},
		{`ü`, "ü"},
		{`\`, `\`},
		{`\q`, `\q`},
	}
	for _, tt := range tests {
		if got := unescape(tt.in); got != tt.want {
			t.Errorf("unescape(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestDoSaysWhatSystemctlSaid(t *testing.T) {
	fake(t, "echo \"Unit $5 not found.\" >&2\nexit 5\n")
	err := Do("restart", "x.socket")
	if err == nil || !strings.Contains(err.Error(), "systemctl restart: Unit x.socket not found") {
		t.Errorf("Do() = %v, want what was printed", err)
	}
	fake(t, "exit 5\n")
	if err := Do("restart", "x.socket"); err == nil || !strings.Contains(err.Error(), "exit status 5") {
		t.Errorf("Do() = %v, want the exit status of one that said nothing", err)
	}
}
