// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// TestKeepIdle: the spread begins at what the listener has.
func TestKeepIdle(t *testing.T) {
	fd := testSocket(t, unix.AF_INET)
	s := Socket{FD: fd, Family: unix.AF_INET, Inherited: true}
	usual := config.KeepAliveIdle
	if got := s.Tune().keepIdle; got != usual {
		t.Errorf("without keepalive: %d s, want %d", got, usual)
	}
	keepAlive[0].set(fd)
	sockOpt{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 100}.set(fd)
	if got := s.Tune().keepIdle; got != 100 {
		t.Errorf("with KeepAliveTimeSec=100 in the unit: %d s", got)
	}
	// TCP_USER_TIMEOUT also ends the waiting for answers to probes.
	longest := time.Duration(probe(usual, keepSpread-1).value+keepAlive[1].value*keepAlive[2].value) * time.Second
	if most := time.Duration(userTimeout.value) * time.Millisecond; longest >= most {
		t.Errorf("a client is cut after %v, before it had %v for its probes", most, longest)
	}
}

// TestTuneListener: options go onto a listener of our own; an inherited one is
// not touched and each connection gets what it lacks.
func TestTuneListener(t *testing.T) {
	tuned := func(fd int, inherited bool) []sockOpt {
		s := Socket{FD: fd, Family: unix.AF_INET, Inherited: inherited}
		return s.Tune().each
	}
	own, theirs := testSocket(t, unix.AF_INET), testSocket(t, unix.AF_INET)
	if each := tuned(own, false); each != nil {
		t.Errorf("own listener: %v left for each connection", each)
	}
	if keepAlive[0].unset(own) || noDelay.unset(own) {
		t.Error("own listener: options not set")
	}
	each := tuned(theirs, true)
	if len(each) != len(keepAlive) || !keepAlive[0].unset(theirs) {
		t.Errorf("inherited listener: %d options left, want all, and none set on it", len(each))
	}
	keepAlive[0].set(theirs) // KeepAlive=yes in the socket unit, with its own times
	if each := tuned(theirs, true); len(each) != 0 {
		t.Errorf("with keepalive set by the unit %v is left for each connection", each)
	}
}
