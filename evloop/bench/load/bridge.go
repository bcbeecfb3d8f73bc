// SPDX-License-Identifier: Apache-2.0

package load

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"penstock/evloop/bench/sample"
)

// The load is the other end of a device: the master of a pseudo-terminal whose slave the
// server has opened. It is a fanout (room.go) whose sender is no client.

const (
	bridgeRate = 1000 // lines a second in mode Bridge

	// stuckWindow is what a client that does not read leaves room for. With the usual
	// window a minute would pass at bridgeRate until the server's output is full.
	stuckWindow = 4096
)

// bridge sends lines by the device, and measures how all clients get them.
func bridge(o Options) (Result, error) {
	f, err := gather(o)
	if err != nil {
		return Result{}, err
	}
	defer f.close()
	if err := f.serve(); err != nil {
		return Result{}, err
	}
	r, err := f.w.result()
	now := f.w.clock()
	r.Silence = max(r.Silence, now-f.receivers[0].last)
	if f.blocked > 0 {
		f.stalled = max(f.stalled, now-f.blocked)
	}
	r.Stalled = f.stalled
	return r, err
}

// free returns how many lines may be begun.
func (f *fanout) free() uint64 {
	if f.o.Mode == Bridge {
		due := 1 + uint64(f.w.clock().Seconds()*bridgeRate) // the first was that of muster
		return max(due, f.sent) - f.sent
	}
	return max(f.delivered/uint64(f.o.Conns)+uint64(f.o.Pipeline), f.sent) - f.sent
}

// patience returns how long turn may wait: a device does not tell when it takes more.
func (f *fanout) patience() int {
	if f.o.Source != 0 {
		return 1
	}
	return 100
}

// write sends once, by the connection of the sender or the device.
func (f *fanout) write(p []byte) (int, error) {
	if f.o.Source == 0 {
		return send(f.sender, p)
	}
	n, err := unix.Write(f.sender, p)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("write to the device: %w", os.NewSyscallError("write", err))
	}
	return n, nil
}

// stall notes whether the device has taken something.
func (f *fanout) stall(n int) {
	now := f.w.clock()
	switch {
	case n == 0 && f.blocked == 0:
		f.blocked = now
	case n > 0 && f.blocked > 0:
		if f.w.started {
			f.stalled = max(f.stalled, now-max(f.blocked, f.w.before.at))
		}
		f.blocked = 0
	}
}

// idleBridge measures what clients take that have had a line. What the first of them
// makes the server set up is not their price.
func idleBridge(o Options) (Result, error) {
	first := o
	first.Conns = 1
	f, err := gather(first)
	if err != nil {
		return Result{}, err
	}
	f.close()
	empty, err := rest(o.Server)
	if err != nil {
		return Result{}, err
	}
	files := sample.Files(o.Server)
	if f, err = gather(o); err != nil {
		return Result{}, err
	}
	defer f.close()
	used, err := rest(o.Server)
	if err != nil {
		return Result{}, err
	}
	files = sample.Files(o.Server) - files
	r, err := quiet(o)
	r.Empty, r.Opened, r.Used, r.Files = empty, used, used, files
	return r, err
}
