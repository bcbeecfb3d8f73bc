// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"penstock/daemon/internal/config"
)

// TestWelcome: every service of the built-in example is listed with where it
// listens and something to type.
func TestWelcome(t *testing.T) {
	cfg := config.Builtin()
	var out strings.Builder
	welcome(&out, cfg)
	lines := strings.Split(out.String(), "\n")
	for _, s := range cfg.Services {
		found := false
		for _, line := range lines {
			f := strings.Fields(line)
			found = found || len(f) > 3 && f[0] == s.Name && f[2] == s.Listen[0].Text && strings.Contains(line, "nc ")
		}
		if !found {
			t.Errorf("no line for %s in\n%s", s.Name, out.String())
		}
	}
	if want := "printf 'What is your favorite color?' | nc -N 127.0.0.1 1060"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is missing in\n%s", want, out.String())
	}
}

// TestTarget: an address to listen on is not always one to connect to.
func TestTarget(t *testing.T) {
	for listen, want := range map[string]string{
		"192.0.2.1:7": "192.0.2.1 7", "0.0.0.0:7": "127.0.0.1 7", "7": "::1 7", "/run/x.sock": "-U /run/x.sock",
	} {
		a, err := config.ParseAddress(listen)
		if err != nil {
			t.Fatal(err)
		}
		if got := target(a); got != want {
			t.Errorf("target(%s) = %q, want %q", listen, got, want)
		}
	}
}
