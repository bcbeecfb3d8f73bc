// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"penstock/evloop/bench/load"
	"penstock/evloop/bench/sample"
)

// A Rig is the machine as the runs use it.
type Rig struct {
	Dir       string // for sockets, configurations and the servers' output
	ServerCPU int    // -1: not pinned
	LoadCPU   int
	Warmup    time.Duration
	Window    time.Duration
}

// grace is how long a server may take to listen, and how much longer than its
// window a load may take: 8,000 connections are opened one after the other.
const grace = 30 * time.Second

// measure starts the peer, puts the cell's load on it, and stops it again. A
// new process for each run keeps what one cell left in a heap out of the next.
func (g Rig) measure(ctx context.Context, p Peer, c Cell) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, g.Warmup+g.Window+2*grace)
	defer cancel()
	address, err := g.address(c)
	if err != nil {
		return load.Result{}, err
	}
	switch c.Mode {
	case start:
		return g.starts(ctx, p, c, address)
	case load.Restart:
		return g.restarts(ctx, p, c, address)
	}
	server, err := g.start(ctx, p, c, address)
	if err != nil {
		return load.Result{}, fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer server.stop()
	if err := server.listening(c.Network, address); err != nil {
		return load.Result{}, fmt.Errorf("start %s: %w", p.Name, err)
	}
	return g.load(ctx, load.Options{
		Mode: c.Mode, Network: c.Network, Address: address, Conns: c.Conns, Size: c.Size,
		Pipeline: c.Pipeline, Stuck: c.Stuck, Warmup: g.Warmup, Window: g.Window, Server: server.pid(),
	})
}

// address returns where the server shall listen. The port is free at this
// moment; servers that are not ours cannot be handed an open socket.
func (g Rig) address(c Cell) (string, error) {
	if c.Network == "unix" {
		path := filepath.Join(g.Dir, "bench.sock")
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("choose address: %w", err)
		}
		return path, nil
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("choose address: %w", err)
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

// A process is a running server.
type process struct {
	cmd    *exec.Cmd
	output *os.File
	ended  chan struct{}
	err    error // of Wait, once ended is closed
}

// start runs the peer, behind the words of before if there are any.
func (g Rig) start(ctx context.Context, p Peer, c Cell, address string, before ...string) (*process, error) {
	host, port, _ := strings.Cut(address, ":")
	path, err := config(g.Dir, c, address)
	if err != nil {
		return nil, err
	}
	inetd, err := xinetd(g.Dir, host, port)
	if err != nil {
		return nil, err
	}
	r := strings.NewReplacer("{xinetd}", inetd, "{mode}", c.serverMode(), "{network}", c.Network, "{address}", address,
		"{host}", host, "{port}", port, "{config}", path)
	words := slices.Clone(before)
	for _, w := range p.Command {
		words = append(words, r.Replace(w))
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "BENCH_BUFFER="+strconv.Itoa(c.inFlight()))
	output, err := os.Create(filepath.Join(g.Dir, p.Name+".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := sample.StartOn(cmd, g.ServerCPU); err != nil {
		output.Close()
		return nil, err
	}
	s := &process{cmd: cmd, output: output, ended: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.ended)
	}()
	return s, nil
}

func (s *process) pid() int { return s.cmd.Process.Pid }

// listening waits until the server accepts.
func (s *process) listening(network, address string) error {
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); {
		if c, err := net.Dial(network, address); err == nil {
			return c.Close()
		}
		select {
		case <-s.ended:
			text, _ := os.ReadFile(s.output.Name())
			return fmt.Errorf("ended early: %w: %s", s.err, bytes.TrimSpace(text))
		case <-time.After(2 * time.Millisecond):
		}
	}
	return fmt.Errorf("does not listen on %s after %v", address, grace)
}

func (s *process) stop() {
	s.cmd.Process.Kill() //nolint:errcheck // it may have ended by itself
	<-s.ended
	s.output.Close()
}

// load runs the client side in a process of its own, on its own CPU. It gets files
// from descriptor 3 on.
func (g Rig) load(ctx context.Context, o load.Options, files ...*os.File) (load.Result, error) {
	arg, err := json.Marshal(o)
	if err != nil {
		return load.Result{}, fmt.Errorf("start load: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return load.Result{}, fmt.Errorf("start load: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "load", string(arg))
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, &msg, files
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := sample.StartOn(cmd, g.LoadCPU); err != nil {
		return load.Result{}, fmt.Errorf("start load: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return load.Result{}, fmt.Errorf("%w: %s", err, bytes.TrimSpace(msg.Bytes()))
	}
	var r load.Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return load.Result{}, fmt.Errorf("parse the load's result: %w", err)
	}
	return r, nil
}

// loadMain is the process that load starts.
func loadMain(arg string) error {
	var o load.Options
	if err := json.Unmarshal([]byte(arg), &o); err != nil {
		return fmt.Errorf("parse load options: %w", err)
	}
	r, err := load.Run(o)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}
