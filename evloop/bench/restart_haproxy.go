// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// HAProxy passes bytes on to an echo server, which shares its CPU, as the proxies in the
// figures of others do. It hands its listeners over by the socket of its statistics.

const proxyName = "haproxy"

var errNoProxy = errors.New("haproxy is not installed")

// proxy returns HAProxy, in front of a server that it builds.
func proxy(s settings, log io.Writer) (Peer, error) {
	bin, err := exec.LookPath(proxyName)
	if err != nil {
		bin, err = exec.LookPath("/usr/sbin/" + proxyName) // not in the PATH of a user
	}
	if err != nil {
		return Peer{}, errNoProxy
	}
	behind, err := build(s.out, []string{"evloop"}, s.serverCPU >= 0, restarts(), log)
	if err != nil {
		return Peer{}, err
	}
	return Peer{
		Name: proxyName, Command: []string{bin},
		Restart: func(ctx context.Context, g Rig, p Peer, c Cell, address string) (restartable, error) {
			return byReload(ctx, g, p, behind[0], c, address)
		},
	}, nil
}

// A reloadable is HAProxy's master process, and the server behind it.
type reloadable struct {
	*process
	behind *process
}

func byReload(ctx context.Context, g Rig, p, behind Peer, c Cell, address string) (restartable, error) {
	other, err := g.address(c)
	if err != nil {
		return nil, err
	}
	back, err := g.start(ctx, behind, c, other)
	if err != nil {
		return nil, err
	}
	if err = back.listening(c.Network, other); err != nil {
		back.stop()
		return nil, err
	}
	front, err := g.startProxy(ctx, p, c, address, other)
	if err != nil {
		back.stop()
		return nil, err
	}
	if err := front.listening(c.Network, address); err != nil {
		front.stop()
		back.stop()
		return nil, err
	}
	return reloadable{front, back}, nil
}

func (g Rig) startProxy(ctx context.Context, p Peer, c Cell, address, behind string) (*process, error) {
	path := filepath.Join(g.Dir, "haproxy.cfg")
	text := fmt.Sprintf(`global
    nbthread 1
    maxconn %[1]d
    stats socket %[2]s mode 600 level admin expose-fd listeners
defaults
    mode tcp
    maxconn %[1]d
    timeout connect 30s
    timeout client 1h
    timeout server 1h
frontend bench
    bind %[3]s
    default_backend behind
backend behind
    server behind %[4]s
`, c.Conns+64, filepath.Join(g.Dir, "haproxy.sock"), address, behind)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	p.Command = append(slices.Clone(p.Command), "-W", "-f", path)
	return g.start(ctx, p, c, address)
}

func (s reloadable) pids() (int, []int, error) {
	id := strconv.Itoa(s.pid())
	text, err := os.ReadFile(filepath.Join("/proc", id, "task", id, "children"))
	if err != nil {
		return 0, nil, err
	}
	more := []int{s.behind.pid()}
	for _, f := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return 0, nil, err
		}
		more = append(more, pid)
	}
	return s.pid(), more, nil
}

func (s reloadable) restart(ctx context.Context) error {
	return s.signal(ctx, unix.SIGUSR2, "Loading success")
}

func (s reloadable) stop() {
	s.process.stop()
	s.behind.stop()
}
