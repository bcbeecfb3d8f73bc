// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"testing"
)

// TestExecReserves: each program that may run has its pipes reserved.
func TestExecReserves(t *testing.T) {
	c, err := Parse("x.toml", []byte(of(KindExec)+"command=['/bin/cat']\nmax_children=10\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Services[0]
	if s.Children() != 10 || s.Conns() != 30 || s.Files() < 70 {
		t.Errorf("%d programs, %d connections, %d files", s.Children(), s.Conns(), s.Files())
	}
}

// TestExecWarnings: keys of the loop have no effect on a connection that the program has.
func TestExecWarnings(t *testing.T) {
	text := of(KindExec) + "command=['/bin/cat']\nidle_timeout='5m'\nqueue=4096\n"
	for io, want := range map[string]string{
		"pipes": "",
		"socket": "x.toml:5: service.x.idle_timeout: warning: has no effect: with io = \"socket\" the daemon sees no bytes\n" +
			"x.toml:6: service.x.queue: warning: has no effect: with io = \"socket\" the daemon sees no bytes\n",
	} {
		c, err := Parse("x.toml", []byte(text+"io='"+io+"'\n"))
		if err != nil || fmt.Sprint(c.Warnings) != want {
			t.Errorf("io %s: warnings %v, %v; want %q", io, c.Warnings, err, want)
		}
	}
}

// TestExecBehindProxy: a connection from which the daemon has read a PROXY header cannot be
// given to a program.
func TestExecBehindProxy(t *testing.T) {
	text := of(KindExec) + "command=['/bin/cat']\naccept_proxy=['192.0.2.1']\n"
	for io, want := range map[string]string{
		"pipes": "<nil>",
		"socket": "x.toml:5: service.x.accept_proxy: the daemon reads the header, and perhaps the client's first bytes with it, " +
			"which the program would miss; want io = \"pipes\"",
	} {
		if _, err := Parse("x.toml", []byte(text+"io='"+io+"'\n")); fmt.Sprint(err) != want {
			t.Errorf("io %s: %v, want %s", io, err, want)
		}
	}
}
