// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"time"

	"penstock/evloop/bench/load"
	"penstock/evloop/bench/sample"
)

// startsInARun is how many starts one run consists of: a single one takes two
// milliseconds, much of which depends on the scheduler.
const startsInARun = 15

// activator is systemd's tool that listens and, at the first connection, turns
// itself into the server by exec(2).
const activator = "systemd-socket-activate"

// starts measures how long the first client of an activated socket waits, from
// connect(2) to the first byte of its answer, the start of the process
// included. The quantiles of the result are over the starts of the run.
func (g Rig) starts(ctx context.Context, p Peer, c Cell, address string) (load.Result, error) {
	if _, err := exec.LookPath(activator); err != nil {
		return load.Result{}, fmt.Errorf("start %s: %w", p.Name, err)
	}
	var r load.Result
	var waits []time.Duration
	host, self, begin, err := readings()
	if err != nil {
		return r, err
	}
	for range startsInARun {
		wait, used, err := g.startOnce(ctx, p, c, address)
		if err != nil {
			return r, fmt.Errorf("start %s: %w", p.Name, err)
		}
		waits = append(waits, wait)
		r.Server.CPU += used.CPU
		r.Server.Switches += used.Switches
	}
	host2, self2, end, err := readings()
	if err != nil {
		return r, err
	}
	slices.Sort(waits)
	n := len(waits)
	r.Ops, r.Elapsed = uint64(n), end.Sub(begin)
	r.P50, r.P90, r.P99, r.P999, r.Max = waits[n/2], waits[n*9/10], waits[n-1], waits[n-1], waits[n-1]
	r.Load = self2.Sub(self)
	r.Foreign = sample.Foreign(host2.Sub(host), r.Elapsed, r.Server, r.Load)
	return r, nil
}

func readings() (sample.Host, sample.Usage, time.Time, error) {
	u, err := sample.Process(os.Getpid())
	if err != nil {
		return sample.Host{}, u, time.Time{}, err
	}
	h, err := sample.ReadHost()
	return h, u, time.Now(), err
}

func (g Rig) startOnce(ctx context.Context, p Peer, c Cell, address string) (time.Duration, sample.Usage, error) {
	server, err := g.start(ctx, p, c, address, activator, "--listen="+address, "--fdname=bench")
	if err != nil {
		return 0, sample.Usage{}, err
	}
	defer server.stop()
	if err := server.says("Listening on"); err != nil {
		return 0, sample.Usage{}, err
	}
	begin := time.Now()
	conn, err := net.Dial(c.Network, address)
	if err != nil {
		return 0, sample.Usage{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(begin.Add(grace)); err != nil {
		return 0, sample.Usage{}, err
	}
	if _, err := conn.Write([]byte(load.Question)); err != nil {
		return 0, sample.Usage{}, err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return 0, sample.Usage{}, err
	}
	wait := time.Since(begin)
	used, err := sample.Process(server.pid())
	return wait, used, err
}

// says waits until the server has written text: a connection, which tells
// about other servers, would already start this one.
func (s *process) says(text string) error {
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); {
		out, err := os.ReadFile(s.output.Name())
		if err != nil {
			return err
		}
		if bytes.Contains(out, []byte(text)) {
			return nil
		}
		select {
		case <-s.ended:
			return fmt.Errorf("ended early: %w: %s", s.err, bytes.TrimSpace(out))
		case <-time.After(2 * time.Millisecond):
		}
	}
	return fmt.Errorf("did not say %q within %v", text, grace)
}
