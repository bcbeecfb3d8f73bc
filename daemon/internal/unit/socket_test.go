// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"strings"
	"testing"

	"penstock/daemon/internal/config"
)

// TestSocketKeysReachTheUnit: each key of the socket that a file gives is a
// line of the unit, under systemd's name and with the file's value.
func TestSocketKeysReachTheUnit(t *testing.T) {
	given := map[string]struct{ toml, value string }{
		"backlog":      {"77", "77"},
		"socket_mode":  {`"0600"`, "0600"},
		"socket_user":  {`"daemon"`, "daemon"},
		"socket_group": {`"daemon"`, "daemon"},
		"bind_device":  {`"lo"`, "lo"},
		"ip_allow":     {`["192.0.2.0/24", "localhost"]`, "192.0.2.0/24 localhost"},
		"ip_deny":      {`["any"]`, "any"},
	}
	for _, k := range config.SocketKeys {
		g, ok := given[k.Name()]
		if !ok {
			t.Errorf("say here a value of %s", k.Name())
			continue
		}
		cfg, err := load(t, "[service.a]\nkind = \"echo\"\nlisten = [\"127.0.0.1:7000\", \"/run/a.sock\"]\n"+k.Name()+" = "+g.toml+"\n")
		if err != nil {
			t.Error(err)
			continue
		}
		text, err := socketText("/etc/penstock/penstock.toml", cfg.Services[0])
		if want := "\n" + k.Unit + "=" + g.value + "\n"; err != nil || !strings.Contains(text, want) {
			t.Errorf("%s: %v, no line %q in\n%s", k.Name(), err, strings.TrimSpace(want), text)
		}
	}
}
