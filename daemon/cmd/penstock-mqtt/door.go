// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"penstock/daemon/internal/control"
)

// All that is known of the daemon comes through its control socket. A stream takes a
// connection of its own, and so does each service that is published to, since a device
// that is slow may keep a call waiting.
//
// A connection ends when the daemon does, or hands over to the next process. Then it is
// opened again, and a stream goes on behind the last message that it had.

const (
	// patience is how long the daemon may take for a reply. Publish waits for a device.
	patience = 20 * time.Second
	// redial is the pause before the daemon is asked again, at first and at most.
	redialFirst = 100 * time.Millisecond
	redialMost  = 10 * time.Second
)

// A door is where the daemon is asked.
type door struct {
	path func() string // of the control socket; it may be another one next time
	log  *slog.Logger
	few  *limited
}

func (d *door) dial() (*control.Client, error) { return control.Dial(d.path(), patience) }

// join calls each with the replies to a Join, until ctx ends.
func (d *door) join(ctx context.Context, in control.Joining, each func(json.RawMessage) error) error {
	c, err := d.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	return c.Stream(control.Interface+".Join", in, 0, each)
}

// publish calls Publish. A call that is under way when ctx ends has some time left, and no
// more: a daemon or a device that hangs must not keep us from writing what is to be kept.
func publish(ctx context.Context, c *control.Client, in control.Publication) error {
	defer context.AfterFunc(ctx, func() { time.AfterFunc(goodbye, func() { _ = c.Close() }) })()
	return c.Call(control.Interface+".Publish", in, nil)
}

// again calls f until ctx ends, with a pause after each call that grows while they fail
// soon.
func again(ctx context.Context, f func() error) {
	pause := redialFirst
	for ctx.Err() == nil {
		begun := time.Now()
		_ = f() // whoever cares has told it
		if time.Since(begun) > redialMost {
			pause = redialFirst
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, redialMost)
	}
}

// A cursor is the last message of a service that was taken.
type cursor struct {
	Series string `json:"series"`
	Last   uint64 `json:"last"`
}

// A follower gets the messages of a service, each once.
type follower struct {
	service string
	door    *door
	each    func(control.Joined) // must not block for long: the daemon's stream is bounded

	mu     sync.Mutex // guards the following
	at     cursor     // empty: from now on
	failed string     // why the daemon does not let us join; told once
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	again(ctx, func() error {
		err := f.join(ctx)
		if ctx.Err() == nil {
			f.tell(err)
		}
		return err
	})
}

func (f *follower) join(ctx context.Context) error {
	in := control.Joining{Service: f.service}
	if at := f.cursor(); at.Series != "" {
		in.After, in.Series = &at.Last, at.Series
	}
	err := f.door.join(ctx, in, f.took)
	if e, ok := errors.AsType[*control.Error](err); ok && e.Is(control.InvalidParameter("")) {
		f.set(cursor{}) // the daemon has lost what it knew, and its numbers are below ours
	}
	return err
}

// took is called for each reply.
func (f *follower) took(p json.RawMessage) error {
	var j control.Joined
	if err := json.Unmarshal(p, &j); err != nil {
		return err
	}
	if j.Missed > 0 {
		f.door.few.count("message missed", int(min(j.Missed, math.MaxInt32)), slog.String("service", f.service))
	}
	f.each(j)
	at := f.cursor()
	if at.Series != j.Series {
		at = cursor{Series: j.Series}
		if len(j.Messages) == 0 {
			at.Last = j.Last
		}
	}
	for _, m := range j.Messages {
		at.Last = max(at.Last, m.Number)
	}
	f.set(at)
	return nil
}

// tell names what keeps us from following, once. That the daemon ends or is not there is
// no news: it tells that itself.
func (f *follower) tell(err error) {
	e, ok := errors.AsType[*control.Error](err)
	if !ok || e.Is(control.ErrStopping) {
		return
	}
	f.mu.Lock()
	again := f.failed == e.Error()
	f.failed = e.Error()
	f.mu.Unlock()
	if !again {
		f.door.log.Warn("service not followed", slog.String("service", f.service), slog.Any("err", err))
	}
}

func (f *follower) cursor() cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

func (f *follower) set(at cursor) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = at
}
