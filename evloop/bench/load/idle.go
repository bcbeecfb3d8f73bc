// SPDX-License-Identifier: Apache-2.0

package load

import (
	"time"

	"penstock/evloop/bench/sample"
)

// settle is how long a server may take to come to rest after its last event:
// a collector returns memory, a scheduler parks its threads.
const settle = 500 * time.Millisecond

// idle opens the connections, has each echo one message, and then measures what
// the server does while it has nothing to do. The memory is read before,
// between and after: a buffer that a connection gets with its first byte shows
// as the difference between Opened and Used.
func idle(o Options) (Result, error) {
	o.Pipeline = 1
	if err := setUp(o); err != nil {
		return Result{}, err
	}
	x, err := newExchanger(o, pattern(o.Size), pattern(o.Size))
	if err != nil {
		return Result{}, err
	}
	defer x.close()
	empty, err := rest(o.Server)
	if err != nil {
		return Result{}, err
	}
	files := sample.Files(o.Server)
	if err := x.connect(o.Conns); err != nil {
		return Result{}, err
	}
	opened, err := rest(o.Server)
	if err != nil {
		return Result{}, err
	}
	if err := x.eachOnce(); err != nil {
		return Result{}, err
	}
	used, err := rest(o.Server)
	if err != nil {
		return Result{}, err
	}

	files = sample.Files(o.Server) - files
	r, err := quiet(o)
	r.Empty, r.Opened, r.Used, r.Files = empty, opened, used, files
	return r, err
}

// quiet measures a server that has nothing to do.
func quiet(o Options) (Result, error) {
	o.Warmup = 0
	w := newWindow(o)
	if _, err := w.done(w.clock()); err != nil {
		return Result{}, err
	}
	time.Sleep(o.Window)
	return w.result()
}

// setUp uses one connection, so that what a server sets up once (buffers, tables,
// threads) does not count as the price of a connection.
func setUp(o Options) error {
	o.Conns, o.Warmup, o.Window = 1, 0, 100*time.Millisecond
	_, err := exchange(o, pattern(o.Size), pattern(o.Size))
	return err
}

// rest waits until the server has settled and reads its memory.
func rest(server int) (sample.Memory, error) {
	time.Sleep(settle)
	if server == 0 {
		return sample.Memory{}, nil
	}
	return sample.TreeMemory(server)
}

// eachOnce sends one message on each connection and waits for its reply.
func (x *exchanger) eachOnce() error {
	x.w = newWindow(x.o)
	for i := range x.clients {
		c := &x.clients[i]
		c.owed = x.request
		if err := x.flush(c); err != nil {
			return err
		}
		for want := x.w.ops + 1; x.w.ops < want; {
			if _, err := x.poll.wait(100); err != nil {
				return err
			}
			if err := x.read(c); err != nil {
				return err
			}
		}
		c.owed = 0 // completed owes the next request, which idle never sends
	}
	return nil
}
