// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// The daemon is asked while somebody looks, once for all who do:
//
//	first reader ─► ask, at most every 2 s ─► a picture ─► each reader
//	last one gone ─► ask no more
//
// The alternative was that each page asks by itself. Then ten pages would cost the daemon
// ten times as much, and each would begin its plots anew.

const (
	// tick is the time between two looks at the daemon. It is longer where a look takes
	// more than a part of it, such as with thousands of connections on a small board.
	tick     = 2 * time.Second
	longTick = 3 * tick
	tickPart = 50
	// patience is how long the daemon may take for a reply.
	patience = 10 * time.Second
	// freshness is the age up to which a picture is shown to somebody else, so that many
	// who load the page cost the daemon no more than one.
	freshness = time.Second
)

// errAsleep means that the service manager would start the daemon, and that a question is
// no reason for that.
var errAsleep = errors.New("penstock.service does not run; its first client starts it")

// A picture is what the daemon has said, all of one moment. Nobody changes it.
type picture struct {
	at       time.Time
	snapshot *view.Snapshot
	conns    []client
	records  []logRecord // of its log, the newest first
	err      error       // then there is no more
}

// A client is a connection, and the bytes that it moves in a second, both ways.
type client struct {
	view.Conn
	Rate float64
}

// Waiting returns the bytes that wait to be sent, here or in the kernel.
func (c client) Waiting() uint64 { return uint64(c.Queued + c.Kernel) }

// A source is where the daemon is asked.
type source struct {
	path   func() string     // of the control socket; it may be another one next time
	asleep func(string) bool // see errAsleep
}

// dial connects to the daemon.
func (s source) dial() (*control.Client, error) {
	path := s.path()
	if s.asleep(path) {
		return nil, errAsleep
	}
	return control.Dial(path, patience)
}

// look asks for all that is shown, or without its clients for what is counted.
func (s source) look(clients bool) *picture {
	p := &picture{at: time.Now()}
	c, err := s.dial()
	if err != nil {
		p.err = err
		return p
	}
	defer c.Close()
	var st control.Status
	var services []view.Service
	if p.err = c.Call(control.Interface+".Status", nil, &st); p.err == nil {
		services, p.err = gather(c, "Services", func(r control.Services) []view.Service { return r.Services })
	}
	var conns []view.Conn
	if p.err == nil && clients {
		conns, p.err = gather(c, "List", func(r control.Connections) []view.Conn { return r.Connections })
	}
	for _, conn := range conns {
		p.conns = append(p.conns, client{Conn: conn})
	}
	p.snapshot = st.Snapshot(services)
	return p
}

// gather returns what the replies to a call hold together.
func gather[R, T any](c *control.Client, method string, part func(R) []T) (all []T, err error) {
	err = c.Stream(control.Interface+"."+method, control.ServiceFilter{}, patience, func(p json.RawMessage) error {
		var got R
		err := json.Unmarshal(p, &got)
		all = append(all, part(got)...)
		return err
	})
	return all, err
}

// serviceFolder is where the kernel shows the processes of penstock.service.
const serviceFolder = "/sys/fs/cgroup/system.slice/penstock.service"

// sleeps reports whether the daemon at a control socket does not run, and a connection
// would start it. The sandbox leaves nobody to ask but the kernel: a unit that runs has a
// folder in the tree of control groups. Where that cannot be seen, the daemon is asked.
func sleeps(path string) bool {
	if path != config.ControlPath {
		return false
	}
	_, err := os.Stat(serviceFolder)
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err = os.Stat(filepath.Dir(serviceFolder))
	return err == nil
}

// A feed asks for all who look.
type feed struct {
	ask   source
	paint painter
	every time.Duration // tick, but for tests
	log   logbook

	mu      sync.Mutex
	readers map[chan *painted]struct{}
	stop    context.CancelFunc // ends the asking; nil: nobody asks
	asking  sync.WaitGroup     // run

	looking sync.Mutex // held while the daemon is asked; of it are
	whole   *outcome   // the last one
	counts  *outcome   // the last one without clients
	past    history
}

// An outcome is what came of a look at the daemon.
type outcome struct {
	*painted
	ended time.Time
}

func newFeed(ask source, paint painter) *feed {
	return &feed{ask: ask, paint: paint, every: tick, readers: make(map[chan *painted]struct{}), past: history{}}
}

// end waits until nobody asks, when all readers have left.
func (f *feed) end() {
	f.asking.Wait()
	f.log.end()
}

// read returns a channel that gets each picture; of those that its reader is too slow for
// it gets the latest. The caller must call leave.
func (f *feed) read() (pages <-chan *painted, leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	ch := make(chan *painted, 1)
	f.readers[ch] = struct{}{}
	if f.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		f.stop = stop
		f.asking.Go(func() { f.run(ctx) })
	}
	return ch, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.readers, ch)
		if len(f.readers) == 0 && f.stop != nil {
			f.stop()
			f.stop = nil
		}
	}
}

// run asks until ctx ends.
func (f *feed) run(ctx context.Context) {
	for {
		begun := time.Now()
		p := f.get()
		p.event() // for all readers
		took := time.Since(begun)
		f.mu.Lock()
		for ch := range f.readers {
			select { // the one before, if it was not taken
			case <-ch:
			default:
			}
			ch <- p
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(max(f.every, tickPart*took), longTick)):
		}
	}
}

// get returns a picture for a page, which is fresh.
func (f *feed) get() *painted {
	asked := time.Now()
	f.looking.Lock()
	defer f.looking.Unlock()
	if f.whole.serves(asked, f.fresh()) {
		return f.whole.painted
	}
	f.log.follow(f.ask)
	p := f.ask.look(true)
	p.records = f.log.latest()
	if p.err == nil {
		if f.whole != nil {
			p.rate(f.whole.picture)
		}
		f.past.add(p)
	}
	f.whole = &outcome{&painted{picture: p, page: f.paint.paint(p, f.past)}, time.Now()}
	return f.whole.painted
}

// count returns a picture for those who want no clients: that of a page, if it is fresh.
func (f *feed) count() *picture {
	asked := time.Now()
	f.looking.Lock()
	defer f.looking.Unlock()
	for _, o := range []*outcome{f.whole, f.counts} {
		if o.serves(asked, f.fresh()) {
			return o.picture
		}
	}
	f.counts = &outcome{&painted{picture: f.ask.look(false)}, time.Now()}
	return f.counts.picture
}

func (f *feed) fresh() time.Duration { return min(freshness, f.every/2) }

// serves reports whether o is for somebody who has asked at that time. Whoever has waited
// for its end takes what came of it, also an error: a daemon that does not answer is asked
// once for all who wait, and not by each of them in turn. An error is never fresh, or the
// page would say that the daemon does not run right after its first client.
func (o *outcome) serves(asked time.Time, fresh time.Duration) bool {
	return o != nil && (o.ended.After(asked) || o.err == nil && time.Since(o.at) < fresh)
}
