// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
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

// startFile is the daemon's configuration in this cell: 20 services, since a file of one
// would leave out what grows with them. Every server is handed a socket for each, so that
// the activator does the same for all; the others serve the first, which is the one that
// is asked, and leave the rest alone.
//
//go:embed start.toml
var startFile string

// startServices are the names of the services in startFile, in its order.
func startServices() (names []string) {
	for _, m := range regexp.MustCompile(`(?m)^\[service\.(\w+)\]$`).FindAllStringSubmatch(startFile, -1) {
		names = append(names, m[1])
	}
	return names
}

// startConfig is startFile with its services at the addresses.
func (g Rig) startConfig(addresses []string) string {
	words := []string{"{folder}", g.Dir, "{question}", load.Question, "{answer}", load.Answer}
	for i, a := range addresses {
		words = append(words, "{"+strconv.Itoa(i)+"}", a)
	}
	return strings.NewReplacer(words...).Replace(startFile)
}

// startAddresses chooses an address for each service of startFile.
func startAddresses() ([]string, error) {
	var all []string
	for range startServices() {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("choose addresses: %w", err)
		}
		defer ln.Close() // not before the last is chosen, so that all differ
		all = append(all, ln.Addr().String())
	}
	return all, nil
}

// starts measures how long the first client of an activated socket waits, from
// connect(2) to the first byte of its answer, the start of the process
// included. The quantiles of the result are over the starts of the run.
func (g Rig) starts(ctx context.Context, p Peer, c Cell) (load.Result, error) {
	if _, err := exec.LookPath(activator); err != nil {
		return load.Result{}, fmt.Errorf("start %s: %w", p.Name, err)
	}
	var r load.Result
	var err error
	if g.services, err = startAddresses(); err != nil {
		return r, err
	}
	var waits []time.Duration
	host, self, begin, err := readings()
	if err != nil {
		return r, err
	}
	for range startsInARun {
		wait, used, err := g.startOnce(ctx, p, c)
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

func (g Rig) startOnce(ctx context.Context, p Peer, c Cell) (time.Duration, sample.Usage, error) {
	address := g.services[0]
	before := []string{activator, "--fdname=" + strings.Join(startServices(), ":")}
	for _, a := range g.services {
		before = append(before, "--listen="+a)
	}
	server, err := g.start(ctx, p, c, address, before...)
	if err != nil {
		return 0, sample.Usage{}, err
	}
	defer server.stop()
	if err := server.says("Listening on " + g.services[len(g.services)-1] + " "); err != nil {
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
