// SPDX-License-Identifier: Apache-2.0

package service

import (
	"testing"
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// TestEveryKindIsMade: each kind of the configuration has a maker here, and
// nothing is made that no file can ask for.
func TestEveryKindIsMade(t *testing.T) {
	kinds := config.Kinds()
	for _, kind := range kinds {
		if makers[kind] == nil {
			t.Errorf("makers has no line for kind %q", kind)
		}
	}
	if len(makers) != len(kinds) {
		t.Errorf("makers has %d lines, package config has %d kinds", len(makers), len(kinds))
	}
}

// TestFinishedHasNoLimit: a client that is finished may read its answer for as
// long as it likes. The loop takes another limit for it only if it has none.
func TestFinishedHasNoLimit(t *testing.T) {
	r := serve(t, `kind="chargen"`)
	c := r.dial()
	r.until("more than the kernel takes", func() bool { return r.loop.Conn(c.id).Full() })
	began := time.Now()
	r.do(func() {
		conn := r.loop.Conn(c.id)
		finish(conn)
		conn.CloseAfterFlush(0, nil)
	})
	r.wantEnd(evloop.ErrFlushTimeout)
	if took := time.Since(began); took >= goodbyeTimeout {
		t.Errorf("ended after %v, by a limit of its own", took)
	}
}
