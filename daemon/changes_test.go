// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiff(t *testing.T) {
	base := "[service.a]\nkind = 'lookup'\nlisten = ['127.0.0.1:1']\nanswers = { x = 'y' }\n"
	other := "[service.b]\nkind = 'echo'\nlisten = ['127.0.0.1:2']\n"
	room := "[service.c]\nkind = 'room'\nlisten = ['127.0.0.1:4']\nhistory = 9\n"
	tests := []struct {
		name, old, next string
		want            string // added, removed, replaced, adjusted, unchanged
	}{
		{"nothing", base, base, "0 0 0 0 1"},
		{"added", base, base + other, "1 0 0 0 1"},
		{"removed", base + other, base, "0 1 0 0 1"},
		{"another answer", base, "[service.a]\nkind = 'lookup'\nlisten = ['127.0.0.1:1']\nanswers = { x = 'z' }\n", "0 0 0 1 0"},
		{"another kind", other, "[service.b]\nkind = 'discard'\nlisten = ['127.0.0.1:2']\n", "0 0 1 0 0"},
		{"a queue", other, other + "queue = '1MiB'\n", "0 0 0 1 0"},
		{"the queue that a room's history has to fit", room, room + "queue = '1MiB'\n", "0 0 0 1 0"},
		{"another line end", room, room + "preset = 'twisted'\n", "0 0 1 0 0"},
		{"another delimiter", base, base + "delimiter = '?'\n", "0 0 1 0 0"},
		{"what a lookup does with replies that do not fit", base, base + "overflow = 'disconnect'\n", "0 0 0 1 0"},
		{"an address", other, "[service.b]\nkind = 'echo'\nlisten = ['127.0.0.1:3']\n", "0 0 0 1 0"},
		{"the longest line", base, base + "max_line = 10\n", "0 0 0 1 0"},
		{"a default in limits", other, "[limits]\nper_source = 3\n" + other, "0 0 0 1 0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := diff(parse(t, tt.old), parse(t, tt.next))
			got := [5]int{len(p.added), len(p.removed), len(p.replaced), len(p.adjusted), p.unchanged}
			var want [5]int
			for i := range want {
				want[i] = int(tt.want[2*i] - '0')
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("added, removed, replaced, adjusted, unchanged (-want +got):\n%s", d)
			}
		})
	}
}
