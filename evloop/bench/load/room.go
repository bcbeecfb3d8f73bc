// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// lineTimes is how many lines a receiver may be behind before its delays are
// no longer told apart. The window of lines counts deliveries of all receivers
// together, so that one of them alone may fall back further.
const lineTimes = 1 << 14

// A receiver counts the bytes of the lines that reach it.
type receiver struct {
	fd    int
	got   int    // where in a line the next byte is
	lines uint64 // complete
	last  time.Duration
}

// A fanout is the state of mode Room: one sender, many receivers, at most
// Pipeline lines on the way. A line counts as arrived when as many deliveries
// have come as there are receivers, to whichever of them: looking for the
// slowest receiver would cost a pass over all of them for each line.
type fanout struct {
	o         Options
	w         *window
	poll      *poller
	sender    int
	receivers []receiver
	line      int
	stream    []byte // lines from any phase
	buf       []byte
	due       [lineTimes]time.Duration
	sent      uint64 // lines, begun
	delivered uint64
	owed      int // bytes of lines begun that must still be sent
	phase     int

	blocked time.Duration // since when the device takes nothing; 0: it does
	stalled time.Duration // the longest that it took nothing
}

func room(o Options) (Result, error) {
	f, err := gather(o)
	if err != nil {
		return Result{}, err
	}
	defer f.close()
	if err := f.serve(); err != nil {
		return Result{}, err
	}
	return f.w.result()
}

// gather connects everybody and waits until all have had a line.
func gather(o Options) (*fanout, error) {
	p, err := newPoller(o)
	if err != nil {
		return nil, err
	}
	f := &fanout{o: o, poll: p, sender: -1, buf: make([]byte, bufferSize)}
	line := pattern(o.Size)
	f.line, f.stream = len(line), repeat(line, max(bufferSize, o.Pipeline*len(line)))
	if err := f.connect(); err != nil {
		f.close()
		return nil, err
	}
	if err := f.muster(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// connect joins the receivers first and the sender last.
func (f *fanout) connect() error {
	to, err := newEndpoint(f.o.Network, f.o.Address)
	if err != nil {
		return err
	}
	f.receivers = make([]receiver, f.o.Conns)
	for i := range f.receivers {
		if f.receivers[i].fd, err = to.dial(0, 0); err != nil {
			return fmt.Errorf("receiver %d of %d: %w", i+1, f.o.Conns, err)
		}
		if err := f.poll.add(f.receivers[i].fd, i); err != nil {
			return err
		}
	}
	if f.o.Source != 0 {
		to.window = stuckWindow
	}
	for range f.o.Stuck {
		if _, err := to.dial(0, 0); err != nil {
			return fmt.Errorf("stuck receiver: %w", err)
		}
	}
	if f.o.Source != 0 {
		f.sender = f.o.Source
		return os.NewSyscallError("fcntl", unix.SetNonblock(f.sender, true))
	}
	if f.sender, err = to.dial(0, 0); err != nil {
		return fmt.Errorf("sender: %w", err)
	}
	return f.poll.add(f.sender, f.o.Conns)
}

// muster sends single lines until one reaches everybody: a server with several
// threads may read the first line before it has let in the last receiver.
func (f *fanout) muster() error {
	for range 50 {
		f.w = newWindow(f.o)
		for i := range f.receivers {
			f.receivers[i].lines = 0
		}
		if _, err := f.write(f.stream[:f.line]); err != nil {
			return err
		}
		for f.w.ops < uint64(f.o.Conns) && f.w.clock() < time.Second {
			if err := f.turn(); err != nil {
				return err
			}
		}
		if !slices.ContainsFunc(f.receivers, func(r receiver) bool { return r.lines != 1 }) {
			f.w = newWindow(f.o)
			f.sent, f.delivered = 1, uint64(f.o.Conns)
			return nil
		}
	}
	return errors.New("no line reaches every receiver within a second")
}

func (f *fanout) serve() error {
	for {
		if err := f.send(); err != nil {
			return err
		}
		if err := f.turn(); err != nil {
			return err
		}
		over, err := f.w.done(f.w.clock())
		if err != nil || over {
			return err
		}
	}
}

// turn reads from every receiver that has something.
func (f *fanout) turn() error {
	events, err := f.poll.wait(f.patience())
	if err != nil {
		return err
	}
	for i := range events {
		index := int(events[i].Fd)
		if index == f.o.Conns || events[i].Events&^unix.EPOLLOUT == 0 {
			continue // the sender: send looks at it in any case
		}
		if err := f.read(&f.receivers[index]); err != nil {
			return err
		}
	}
	return nil
}

// send begins the lines that the window allows and sends what is owed.
func (f *fanout) send() error {
	if free := f.free(); free > 0 && f.owed == 0 {
		now := f.w.clock()
		for range free {
			f.due[f.sent%lineTimes] = now
			f.sent++
		}
		f.owed = int(free) * f.line
	}
	if f.owed == 0 {
		return nil
	}
	n, err := f.write(f.stream[f.phase : f.phase+f.owed])
	f.stall(n)
	f.owed -= n
	f.phase = (f.phase + n) % f.line
	return err
}

func (f *fanout) read(r *receiver) error {
	for {
		n, err := receive(r.fd, f.buf)
		if n == 0 || err != nil {
			return err
		}
		if !bytes.Equal(f.buf[:n], f.stream[r.got:r.got+n]) {
			return errors.New("a line differs from what was sent")
		}
		r.got += n
		if k := r.got / f.line; k > 0 {
			f.took(r, k)
		}
		r.got %= f.line
		if n < len(f.buf) {
			return nil
		}
	}
}

// took accounts for k lines that r has now in full.
func (f *fanout) took(r *receiver, k int) {
	now := f.w.clock()
	for range k {
		f.w.delays.add(now - f.due[r.lines%lineTimes])
		r.lines++
	}
	f.delivered += uint64(k)
	f.w.ops += uint64(k)
	if r == &f.receivers[0] {
		f.w.silence = max(f.w.silence, now-r.last)
		r.last = now
	}
}

func (f *fanout) close() {
	for i := range f.receivers {
		unix.Close(f.receivers[i].fd)
	}
	if f.sender != f.o.Source {
		unix.Close(f.sender)
	}
	f.poll.close()
}
