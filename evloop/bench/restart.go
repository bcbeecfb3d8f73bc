// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/bench/load"
)

// Servers that restart under load, and the ways to have them do it:
//
//	penstock-exec     SIGUSR2: the process becomes the next one by execve(2)
//	penstock-systemd  systemctl restart: the manager keeps the connections meanwhile
//	haproxy           SIGUSR2: the old process stays until its clients have gone
//
// The clients of the last one notice nothing, and stay with a process that is out of
// date. What can be compared with it is what a fresh connection sees.
//
// The load says when the restart is due. It runs on another CPU and must not spend its
// time on starting programs, so the restart is done here.

// A restartable is a running server.
type restartable interface {
	// pids returns the process that serves, and those that do a part of the work.
	pids() (int, []int, error)
	// restart returns when the next process serves.
	restart(ctx context.Context) error
	stop()
}

// A way starts a peer, which listens when the way returns.
type way func(ctx context.Context, g Rig, p Peer, c Cell, address string) (restartable, error)

// restarts measures one restart.
func (g Rig) restarts(ctx context.Context, p Peer, c Cell, address string) (load.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := p.Restart(ctx, g, p, c, address)
	if err != nil {
		return load.Result{}, fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer s.stop()
	pid, more, err := s.pids()
	if err != nil {
		return load.Result{}, fmt.Errorf("look at %s: %w", p.Name, err)
	}
	due, tell, err := os.Pipe()
	if err != nil {
		return load.Result{}, fmt.Errorf("restart %s: %w", p.Name, err)
	}
	defer due.Close()
	defer tell.Close()
	restarted := make(chan error, 1)
	go func() {
		if _, err := due.Read(make([]byte, 1)); err != nil {
			return // the load has failed before
		}
		err := s.restart(ctx)
		if err != nil {
			cancel() // the load would wait for a server that is gone
		}
		restarted <- err
	}()
	r, err := g.load(ctx, load.Options{
		Mode: c.Mode, Network: c.Network, Address: address, Conns: c.Conns, Size: c.Size, Pipeline: c.Pipeline,
		Warmup: g.Warmup, Window: g.Window, Server: pid, Helpers: more, Due: 3,
	}, tell)
	select {
	case rerr := <-restarted:
		err = errors.Join(rerr, err)
	default:
		err = errors.Join(err, errors.New("the load ended before the restart"))
	}
	if err != nil {
		return r, fmt.Errorf("restart %s: %w", p.Name, err)
	}
	return r, nil
}

// restartPeers returns the servers of -restart that can run here.
func restartPeers(s settings, log io.Writer) ([]Peer, error) {
	if err := os.MkdirAll(s.out, 0o755); err != nil {
		return nil, fmt.Errorf("build peers: %w", err)
	}
	var peers []Peer
	skip := func(name string, err error) { fmt.Fprintf(log, "%s is left out: %v\n", name, err) }
	wanted := func(name string) bool {
		return s.peers == "" || slices.Contains(strings.Split(s.peers, ","), name)
	}
	if s.penstock == "" {
		skip("penstock", errors.New("-penstock does not say where it is"))
	} else {
		p, err := daemon(s.penstock)
		if err != nil {
			return nil, err
		}
		if p.Name, p.Restart = "penstock-exec", byExec; wanted(p.Name) {
			peers = append(peers, p)
		}
		p.Name, p.Restart = "penstock-systemd", bySystemd
		if err := findManager(); err != nil && wanted(p.Name) {
			skip(p.Name, err)
		} else if wanted(p.Name) {
			peers = append(peers, p)
		}
	}
	if !wanted(proxyName) {
		return peers, nil
	}
	p, err := proxy(s, log)
	switch {
	case errors.Is(err, errNoProxy):
		skip(proxyName, err)
	case err != nil:
		return nil, err
	default:
		peers = append(peers, p)
	}
	return peers, nil
}

// A selfExec is a daemon that becomes the next one.
type selfExec struct{ *process }

func byExec(ctx context.Context, g Rig, p Peer, c Cell, address string) (restartable, error) {
	s, err := g.start(ctx, p, c, address)
	if err != nil {
		return nil, err
	}
	if err := s.listening(c.Network, address); err != nil {
		s.stop()
		return nil, err
	}
	return selfExec{s}, nil
}

func (s selfExec) pids() (int, []int, error) { return s.pid(), nil, nil }

func (s selfExec) restart(ctx context.Context) error {
	return s.signal(ctx, unix.SIGUSR2, "connections taken over")
}

// signal sends a signal and waits until the server has written text once more.
func (s *process) signal(ctx context.Context, sig unix.Signal, text string) error {
	before, err := s.written(text)
	if err != nil {
		return err
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %s: %w", unix.SignalName(sig), err)
	}
	for {
		n, err := s.written(text)
		if err != nil || n > before {
			return err
		}
		select {
		case <-s.ended:
			return fmt.Errorf("ended by %s: %w", unix.SignalName(sig), s.err)
		case <-ctx.Done():
			return fmt.Errorf("did not say %q: %w", text, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// written returns how often text is in what the server has written.
func (s *process) written(text string) (int, error) {
	out, err := os.ReadFile(s.output.Name())
	return bytes.Count(out, []byte(text)), err
}
