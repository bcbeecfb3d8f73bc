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

// TestKeepTogether: a few connections are probed in the moment of their listener, as they
// inherit it, and those that come to many have moments of their own.
func TestKeepTogether(t *testing.T) {
	idle := func(fd int) int {
		n, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	own := Socket{FD: testSocket(t, unix.AF_INET), Family: unix.AF_INET}
	tuning := own.Tune()
	if got := idle(own.FD); got != config.KeepAliveIdle {
		t.Errorf("our own listener has %d s, want %d", got, config.KeepAliveIdle)
	}
	if again := own.Tune(); again.keepIdle != config.KeepAliveIdle || again.each != nil {
		t.Errorf("a listener that was tuned before: %+v", again)
	}
	fd := testSocket(t, unix.AF_INET)
	const before, id = 1000, 7
	sockOpt{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, before}.set(fd)
	tuning.Set(fd, id, keepTogether-1)
	if got := idle(fd); got != before {
		t.Errorf("beside a few: %d s, want what was inherited", got)
	}
	tuning.Set(fd, id, keepTogether)
	if got := idle(fd); got != config.KeepAliveIdle+id {
		t.Errorf("beside many: %d s, want a moment of its own", got)
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
