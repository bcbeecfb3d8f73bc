// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"
)

// TestUnchanged: only what is as in a file, and must stay so, is given back.
func TestUnchanged(t *testing.T) {
	const smaps = `00400000-00402000 r-xp 00000000 fe:00 2470                     /usr/bin/penstock
Size:                  8 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
00500000-00501000 r--p 00100000 fe:00 2470                     /usr/bin/penstock
Anonymous:             4 kB
00600000-00601000 rw-p 00200000 fe:00 2470                     /usr/bin/penstock
Anonymous:             0 kB
c000000000-c000400000 rw-p 00000000 00:00 0
Anonymous:             0 kB
c000400000-c000800000 r--p 00000000 00:00 0                    [anon: Go: heap]
Anonymous:             0 kB
7ffc0000-7ffc1000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
00700000-00702000 r--p 00300000 fe:00 2470                     /usr/bin/penstock (deleted)
Anonymous:             0 kB
`
	want := []mapping{{0x400000, 0x2000}, {0x700000, 0x2000}}
	if got := unchanged(strings.NewReader(smaps)); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	for _, bad := range []string{"", "\n", "Anonymous: 0 kB\n", "zz-1 r-xp 0 0 0 /a\nAnonymous: 0 kB\n", "2-1 r-xp 0 0 0 /a\nAnonymous: 0 kB\n", "-\n", "Anonymous:\n"} {
		if got := unchanged(strings.NewReader(bad)); len(got) > 0 {
			t.Errorf("%q: %x", bad, got)
		}
	}
}
