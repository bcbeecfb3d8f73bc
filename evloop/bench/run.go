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

	behind   string   // address of the server behind a relay, where the cell has one
	device   string   // path of the source of a bridge
	services []string // addresses of the services of startFile
}

// grace is how long a server may take to listen, and how much longer than its
// window a load may take: 8,000 connections are opened one after the other.
const grace = 30 * time.Second

// fillTime is how long a bridge's lines take until what the kernel keeps for a client that
// does not read is full.
const fillTime = 4 * time.Second

// measure starts the peer, puts the cell's load on it, and stops it again. A
// new process for each run keeps what one cell left in a heap out of the next.
func (g Rig) measure(ctx context.Context, p Peer, c Cell) (load.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, g.Warmup+g.Window+2*grace)
	defer cancel()
	if c.Mode == start {
		return g.starts(ctx, p, c)
	}
	address, err := g.address(c)
	if err != nil {
		return load.Result{}, err
	}
	if c.Mode == load.Restart {
		return g.restarts(ctx, p, c, address)
	}
	o := load.Options{
		Mode: c.Mode, Network: c.Network, Address: address, Conns: c.Conns, Size: c.Size,
		Pipeline: c.Pipeline, Stuck: c.Stuck, Warmup: g.Warmup, Window: g.Window,
		WebSocket: p.WebSocket,
	}
	files, err := g.beyond(c, &o)
	if err != nil {
		return load.Result{}, err
	}
	defer closeAll(files)
	if c.Stuck > 0 && c.serverMode() == load.Bridge {
		o.Warmup = max(o.Warmup, fillTime)
	}
	server, err := g.start(ctx, p, c, address)
	if err != nil {
		return load.Result{}, fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer server.stop()
	if err := server.listening(c.Network, address); err != nil {
		return load.Result{}, fmt.Errorf("start %s: %w", p.Name, err)
	}
	o.Server = server.pid()
	return g.load(ctx, o, files...)
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
	path, err := g.config(c, address)
	if err != nil {
		return nil, err
	}
	r := g.names(p, c, address, path)
	if p.File != "" {
		if err := os.WriteFile(filepath.Join(g.Dir, p.Name+".conf"), []byte(r.Replace(p.File)), 0o644); err != nil {
			return nil, fmt.Errorf("write configuration: %w", err)
		}
	}
	words := slices.Clone(before)
	for _, w := range p.Command {
		words = append(words, r.Replace(w))
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "BENCH_BUFFER="+strconv.Itoa(c.inFlight()), "BENCH_BEHIND="+g.behind, "BENCH_DEVICE="+g.device)
	output, err := os.Create(filepath.Join(g.Dir, p.Name+".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
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

// names puts in what a peer's command and configuration leave open.
func (g Rig) names(p Peer, c Cell, address, config string) *strings.Replacer {
	host, port, _ := strings.Cut(address, ":")
	behindHost, behindPort, _ := strings.Cut(g.behind, ":")
	return strings.NewReplacer("{mode}", c.serverMode(), "{network}", c.Network, "{address}", address, "{host}", host, "{port}", port,
		"{behind}", g.behind, "{behind host}", behindHost, "{behind port}", behindPort, "{device}", g.device,
		"{config}", config, "{file}", filepath.Join(g.Dir, p.Name+".conf"))
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

// stop ends the server, and with it the processes that it has started for its clients.
func (s *process) stop() {
	s.cmd.Process.Kill()                    //nolint:errcheck // it may have ended by itself
	syscall.Kill(-s.pid(), syscall.SIGKILL) //nolint:errcheck // nobody may be left
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
