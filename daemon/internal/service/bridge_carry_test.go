// SPDX-License-Identifier: Apache-2.0

package service

import (
	"testing"

	"penstock/daemon/internal/record"
)

// TestBridgeLoad: a bridge takes what one of the same sort has saved, as often as it is
// handed on. It refuses what one with the other value of the key telnet has saved, since
// its clients speak otherwise, and a transaction that no process can have left: its timer
// would be due again and again, or the end of its reply would not be found.
func TestBridgeLoad(t *testing.T) {
	env := quietEnv(t)
	bridgeOf := func(text string) *bridge {
		return newBridge(parse(t, "kind='bridge'\ndevice='/nonexistent/tty'\n"+text), env)
	}
	saved := func(text string, u turn) []byte {
		b := bridgeOf(text)
		b.turn = u
		return b.Save()
	}
	const (
		port = "telnet='rfc2217'"
		ask  = "write='transaction'\n"
		gap  = ask + "delimiter=''\nreply_gap='20ms'"
	)
	for name, tt := range map[string]struct {
		keys  string
		state []byte
		want  error
	}{
		"no TELNET":         {"", saved("", turn{}), nil},
		"TELNET":            {port, saved(port, turn{}), nil},
		"TELNET before":     {"", saved(port, turn{}), errTelnet},
		"no TELNET before":  {port, saved("", turn{}), errTelnet},
		"a turn":            {ask, saved(ask, turn{state: answered, owner: 7, until: 9, heard: 8}), nil},
		"half an end":       {ask + "delimiter='ab'", saved(ask, turn{state: answered, heard: 8, tail: []byte("a")}), nil},
		"more than an end":  {ask + "delimiter='ab'", saved(ask, turn{state: answered, heard: 8, tail: []byte("xa")}), record.ErrDamaged},
		"an end of nothing": {gap, saved(ask, turn{state: answered, heard: 8, tail: []byte("a")}), record.ErrDamaged},
		"asked and heard":   {gap, saved(ask, turn{state: asked, heard: 8}), record.ErrDamaged},
		"no such state":     {ask, saved(ask, turn{state: turnStates}), record.ErrDamaged},
	} {
		b := bridgeOf(tt.keys)
		if err := b.Load(tt.state); err != tt.want {
			t.Errorf("%s: the error is %v, want %v", name, err, tt.want)
			continue
		}
		if tt.want != nil {
			continue
		}
		if again := bridgeOf(tt.keys).Load(b.Save()); again != nil {
			t.Errorf("%s, handed on: %v", name, again)
		}
	}
}
