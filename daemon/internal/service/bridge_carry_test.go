// SPDX-License-Identifier: Apache-2.0

package service

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/record"
	"penstock/evloop"
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

// TestBridgeSuspendsFormer: a restart waits for the program that a reload has replaced by a
// device, and leaves the device to the next process.
func TestBridgeSuspendsFormer(t *testing.T) {
	p := newPlug(t)
	p.in()
	t.Cleanup(p.out)
	end := filepath.Join(t.TempDir(), "end")
	if err := unix.Mkfifo(end, 0o600); err != nil {
		t.Fatal(err)
	}
	r := serveLoop(t, parse(t, "kind='bridge'\nwrite='any'\ndrain_timeout='1h'\n"+
		`command=["/bin/sh","-c","while read -r m; do echo $m; done; read -r m <$0","`+end+`"]`), evloop.Config{Memory: 64 << 20},
		func(r *rig) { r.svc.(*bridge).source.(*programSource).program.Times = quickly })
	a := r.dial()
	a.send("one\n")
	a.want("one\n")
	r.adjust(p, "")
	ended := false
	r.do(func() { r.bridge().Suspend(time.Hour, func() { ended = true }) })
	r.do(func() {
		if ended {
			t.Error("a restart does not wait for the program")
		}
	})
	f, err := os.OpenFile(end, os.O_WRONLY, 0) // returns when the program has opened it
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	r.until("the end of the program", func() bool { return ended })
	r.do(func() {
		if state := r.bridge().source.View().State; state != "idle" {
			t.Errorf("the device is %s, want idle", state)
		}
	})
}

// TestBridgeLoadsFormerClients: a bridge takes the client of a daemon whose records were of
// version 2, which did not say until when it waits, and one that says it.
func TestBridgeLoadsFormerClients(t *testing.T) {
	var former record.Writer
	former.Bool(true)  // it has no more to say
	former.Bool(false) // and does not hold the source
	former.Bool(false) // no TELNET
	former.Bool(true)
	former.Text([]byte("rest"))
	for name, tt := range map[string]struct {
		state []byte
		want  error
	}{
		"version 2":    {former, nil},
		"until":        {append(former[:len(former):len(former)], 9), nil},
		"more":         {append(former[:len(former):len(former)], 9, 9), record.ErrDamaged},
		"cut":          {former[:len(former)-1], record.ErrDamaged},
		"a lone until": {[]byte{0, 9, 0, 0, 0, 0}, record.ErrDamaged},
	} {
		_, _, _, err := readCaller(tt.state)
		if err != tt.want {
			t.Errorf("%s: the error is %v, want %v", name, err, tt.want)
		}
	}
}
