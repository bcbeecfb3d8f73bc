// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"testing"
)

// TestStart: which files need the process from the boot on, and that exit_idle has no
// effect then.
func TestStart(t *testing.T) {
	const limits = "[limits]\nexit_idle='1m'\n"
	idle := func(service string) string {
		return "x.toml:2: limits.exit_idle: warning: has no effect: service." + service + " runs from the boot on (start)\n"
	}
	bridge := of(KindBridge) + "command=['/bin/cat']\n"
	tail := of(KindTail) + "file='/var/log/x'\n"
	tests := []struct {
		text   string
		atBoot bool
		why    string
	}{
		{bridge, true, ""},
		{bridge + "start='client'\n", false, ""},
		{tail, true, ""},
		{tail + "start='boot'\n", true, ""},
		{tail + "start='client'\n", false, ""},
		{of(KindEcho), false, ""},
		{limits + of(KindEcho), false, ""},
		{limits + tail + "start='client'\n", false, ""},
		{limits + tail, true, idle("x")},
		{"[limits]\nexit_idle='0s'\n" + tail, true, ""},
	}
	for _, tt := range tests {
		c, err := Parse("x.toml", []byte(tt.text))
		if err != nil {
			t.Fatal(err)
		}
		if c.AtBoot() != tt.atBoot || fmt.Sprint(c.Warnings) != tt.why {
			t.Errorf("%s\nat boot %t, warnings %q; want %t, %q", tt.text, c.AtBoot(), c.Warnings, tt.atBoot, tt.why)
		}
	}
	if _, err := Parse("x.toml", []byte(of(KindEcho)+"start='boot'\n")); err == nil {
		t.Error("an echo takes the key")
	}
}
