// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"penstock/daemon/internal/config"
)

// A hangingDaemon is one whose files do not come until the test lets them.
type hangingDaemon struct {
	*running
	asked    chan context.Context // by each reading
	answer   chan error           // of one that hangs in the kernel: it hears of nothing else
	deaf     bool
	reloaded chan error
}

func hanging(t *testing.T, deaf bool) *hangingDaemon {
	t.Helper()
	cfg := parse(t, fmt.Sprintf("[service.a]\nkind='echo'\nlisten=['%s/a.sock']\n", t.TempDir()))
	h := &hangingDaemon{
		asked: make(chan context.Context, 8), answer: make(chan error, 8), reloaded: make(chan error, 8), deaf: deaf,
	}
	ready := make(chan struct{})
	d, err := New(cfg, Env{
		Log: slog.New(slog.DiscardHandler), Ready: func() { close(ready) },
		Load: func(ctx context.Context) (*config.Config, error) {
			h.asked <- ctx
			heard := ctx.Done()
			if h.deaf {
				heard = nil
			}
			select {
			case err := <-h.answer:
				return cfg, err
			case <-heard:
				return nil, fmt.Errorf("load: %w", context.Cause(ctx))
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.running = run(t, d)
	<-ready
	return h
}

func (h *hangingDaemon) hangup() {
	h.do(func() { h.reloadThen(func(_ string, err error) { h.reloaded <- err }) })
}

// later makes the present reading one that has gone on for long.
func (h *hangingDaemon) later() {
	h.do(func() { h.reading.began = h.reading.began.Add(-impatience) })
}

// A stop waits for no file, and tells the reading to end.
func TestStopGivesReadingUp(t *testing.T) {
	h := hanging(t, false)
	h.hangup()
	ctx := <-h.asked
	h.stop(t)
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, errStopping) {
		t.Errorf("the reading was ended by %v, want %v", err, errStopping)
	}
}

// A later SIGHUP gives up a reading that goes on for long, and nobody is told
// that the reload was refused: it has not ended.
func TestHangupReadsAgain(t *testing.T) {
	h := hanging(t, false)
	h.hangup()
	first := <-h.asked
	h.hangup() // at once: makes one more, after this one
	h.later()
	if first.Err() != nil {
		t.Error("SIGHUPs in a row ended the reading")
	}
	h.hangup()
	<-first.Done()
	<-h.asked
	h.answer <- nil
	if err := <-h.reloaded; err != nil {
		t.Errorf("the reload ended with %v, want nil", err)
	}
	h.do(func() {
		if h.life.phase != ready || h.refusal != nil {
			t.Errorf("%v, refusal %v, want ready and none", h.life.phase, h.refusal)
		}
	})
	h.stop(t)
}

// A reading that hears of nothing costs one goroutine however often it is asked
// for, and the daemon is ready meanwhile.
func TestReadingThatHangs(t *testing.T) {
	h := hanging(t, true)
	h.hangup()
	<-h.asked
	h.do(h.readTooLong)
	if err := <-h.reloaded; !errors.Is(err, errReadingSlow) {
		t.Errorf("the reload ended with %v, want %v", err, errReadingSlow)
	}
	for range 3 {
		h.hangup()
		if err := <-h.reloaded; !errors.Is(err, errStillReading) {
			t.Errorf("the next ended with %v, want %v", err, errStillReading)
		}
	}
	h.answer <- nil // the card is back
	h.until("the end of the reading", func() bool { return h.reading == nil })
	h.hangup()
	<-h.asked
	h.answer <- nil
	if err := <-h.reloaded; err != nil {
		t.Errorf("then one ended with %v, want nil", err)
	}
	h.stop(t)
}
