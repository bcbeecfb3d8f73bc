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
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/evloop/bench/load"
	"penstock/evloop/bench/sample"
)

// startsInARun is how many starts one run consists of: a single one takes some
// milliseconds, much of which depends on the scheduler.
const startsInARun = 15

// rest is how long the machine has nothing to do before each connection, as before one that
// activates a socket. Otherwise a start is the faster the sooner it follows the last one,
// and the end of a daemon that watches files waits for the kernel: with bridges and tails in
// the file the ratio was 3.3, and without them 2.5, though they take a thirtieth of the start.
const rest = 50 * time.Millisecond

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

// startFolder is empty, and not the one in which the daemon's output is: it would be told of
// each line that it writes itself.
func (g Rig) startFolder() string { return filepath.Join(g.Dir, "start") }

// startConfig is startFile with its services at the addresses.
func (g Rig) startConfig(addresses []string) string {
	words := []string{"{folder}", g.startFolder(), "{question}", load.Question, "{answer}", load.Answer}
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
	if err := os.MkdirAll(g.startFolder(), 0o755); err != nil {
		return r, fmt.Errorf("start %s: %w", p.Name, err)
	}
	var waits []time.Duration
	var whole sample.Usage // with the ends of the servers, which are no other work
	host, self, begin, err := readings()
	if err != nil {
		return r, err
	}
	for range startsInARun {
		wait, used, all, err := g.startOnce(ctx, p, c)
		if err != nil {
			return r, fmt.Errorf("start %s: %w", p.Name, err)
		}
		whole.CPU += all
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
	r.Foreign = sample.Foreign(host2.Sub(host), r.Elapsed, whole, r.Load)
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

// startOnce starts the server once. It returns how long the client has waited, what the
// server had used by then, and its processor time until it had ended.
func (g Rig) startOnce(ctx context.Context, p Peer, c Cell) (wait time.Duration, used sample.Usage, whole time.Duration, err error) {
	if g.services, err = startAddresses(); err != nil { // a program of the last start may still have those
		return 0, used, 0, err
	}
	before := []string{activator, "--fdname=" + strings.Join(startServices(), ":")}
	for _, a := range g.services {
		before = append(before, "--listen="+a)
	}
	server, err := g.start(ctx, p, c, g.services[0], before...)
	if err != nil {
		return 0, used, 0, err
	}
	wait, used, err = g.firstByte(c, server)
	server.stop()
	whole = server.cmd.ProcessState.UserTime() + server.cmd.ProcessState.SystemTime()
	return wait, used, whole, err
}

// firstByte has a client connect and ask, and waits for the first byte of the answer.
func (g Rig) firstByte(c Cell, server *process) (wait time.Duration, used sample.Usage, err error) {
	if err := server.says("Listening on " + g.services[len(g.services)-1] + " "); err != nil {
		return 0, used, err
	}
	time.Sleep(rest)
	begin := time.Now()
	conn, err := net.Dial(c.Network, g.services[0])
	if err != nil {
		return 0, used, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(begin.Add(grace)); err != nil {
		return 0, used, err
	}
	if _, err := conn.Write([]byte(load.Question)); err != nil {
		return 0, used, err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return 0, used, err
	}
	wait = time.Since(begin)
	used, err = sample.Process(server.pid())
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
