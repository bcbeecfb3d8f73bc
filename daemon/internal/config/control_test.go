// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
)

// TestKeptNames: a service with the name of a socket of the packages is served, with a
// warning; others are not warned of.
func TestKeptNames(t *testing.T) {
	for name, warned := range map[string]bool{"control": true, "web": true, "mqtt": true, "webcam": false} {
		c, err := Parse("t.toml", []byte("[service."+name+"]\nkind = 'echo'\nlisten = ['127.0.0.1:7000']\n"))
		if err != nil || len(c.Services) != 1 {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := len(c.Warnings) == 1; got != warned {
			t.Errorf("%s: warnings %v", name, c.Warnings)
		}
	}
}

// TestControlPath: no service can listen where the control socket is, in any spelling.
func TestControlPath(t *testing.T) {
	for _, path := range []string{"/run/penstock/control", "/run/penstock//control", "/run/penstock/../penstock/control"} {
		_, err := Parse("t.toml", []byte("[service.x]\nkind = 'echo'\nlisten = ['"+path+"']\n"))
		if err == nil || !strings.Contains(err.Error(), "service.x.listen: ") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := Parse("t.toml", []byte("[service.x]\nkind = 'echo'\nlisten = ['/run/penstock/control.sock']\n")); err != nil {
		t.Error(err)
	}
}
