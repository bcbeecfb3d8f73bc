// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/daemon/internal/config"
)

// TestDisconnected: whose clients a reload ends, and nobody else's.
func TestDisconnected(t *testing.T) {
	parse := func(text string) *config.Config {
		t.Helper()
		cfg, err := config.Parse("penstock.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	service := func(keys string) string { return "[service.a]\nlisten = [\"7000\"]\n" + keys }
	for _, tt := range []struct {
		name, was, is string
		want          []string
	}{
		{"nothing changes", service("kind = \"echo\""), service("kind = \"echo\""), nil},
		{"another table", service("kind = \"lookup\"\nanswers = {a = \"1\"}"), service("kind = \"lookup\"\nanswers = {a = \"2\"}\nmax_line = 5000"), nil},
		{"another kind", service("kind = \"echo\""), service("kind = \"discard\""), []string{"service a: kind changes from echo to discard, its clients would be disconnected"}},
		{"another delimiter", service("kind = \"room\""), service("kind = \"room\"\npreset = \"twisted\""), []string{"service a: the end of a message changes, its clients would be disconnected"}},
		{"shorter lines", service("kind = \"room\""), service("kind = \"room\"\nmax_line = 100"), []string{"service a: clients that have sent more than 100 bytes of a line would be disconnected"}},
		{"removed", service("kind = \"room\""), "[service.b]\nlisten = [\"7000\"]\nkind = \"room\"", []string{"service a: removed, its clients would be disconnected"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, disconnected(parse(tt.was), parse(tt.is))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	echo, off := parse(service("kind = \"echo\"")), parse(service("kind = \"echo\"\npersist = \"off\""))
	if got := notCarried(off, echo); len(got) != 1 || notCarried(echo, off) != nil || notCarried(nil, echo) != nil {
		t.Errorf("of one that does not keep connections: %q", got)
	}
	if got := disconnected(nil, parse(service("kind = \"echo\""))); len(got) != 1 {
		t.Errorf("where nothing is known: %q", got)
	}
}
