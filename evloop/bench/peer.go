// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"penstock/evloop/bench/load"
)

// A Peer is a server that takes part.
type Peer struct {
	Name    string
	Command []string // with {mode} {network} {address} {host} {port} {config}, and see Rig.start
	File    string   // its configuration, with the same; {file} is its path. "": none
	Modes   []string // what it can do; empty: try all
	Fragile bool     // stops serving everybody when some do not read
	Adopts  bool     // serves a socket that was opened for it
	Restart way      // nil: it cannot restart and keep its clients

	WebSocket bool // its clients speak WebSocket, a message a line
}

// can reports whether the peer has what the cell needs.
func (p Peer) can(c Cell) bool {
	if c.Stuck > 0 && p.Fragile || c.Mode == start && !p.Adopts || (c.Mode == load.Restart) != (p.Restart != nil) {
		return false
	}
	return len(p.Modes) == 0 || slices.Contains(p.Modes, c.serverMode())
}

// A source is how to build a peer of this folder.
type source struct {
	name  string
	path  string   // a Go package or a C file
	libs  []string // for the C compiler
	needs string   // the headers without which it is skipped
	modes []string
	// fragile: see Peer. The plain io_uring server has one pool of buffers for
	// all; in the end the clients that do not read hold all of them.
	fragile bool
	adopts  bool
	spreads bool // uses two CPUs, so that it has no place where the server is pinned to one
}

// sources are in the order of the table. The others are compared with the first
// that can be built.
var sources = []source{
	{name: "c-epoll", path: "servers/c/epoll.c", modes: []string{load.Echo, load.Ask, load.Room}, adopts: true},
	{name: "c-libuv", path: "servers/c/uv.c", libs: []string{"-luv"}, needs: "libuv1-dev", modes: []string{load.Echo, load.Ask}, adopts: true},
	{name: "c-uring", path: "servers/c/uring.c", needs: "headers of Linux 6.1", modes: []string{load.Echo}, fragile: true},
	{name: "c-exec", path: "servers/c/exec.c", modes: []string{load.Exec, load.ExecPipes}},
	{name: "c-proxy", path: "servers/c/proxy.c", modes: []string{load.Proxy}},
	{name: "c-proxy-splice", path: "servers/c/proxy.c", modes: []string{load.Proxy}},
	{name: "c-bridge", path: "servers/c/bridge.c", modes: []string{load.Bridge}},
	{name: "evloop", path: "./servers/evloop", modes: []string{load.Echo, load.Ask, load.Room}, adopts: true},
	{name: "evloop-uring", path: "./servers/evloop", modes: []string{load.Echo, load.Ask, load.Room}, adopts: true},
	{name: "evloop-2", path: "./servers/evloop", modes: []string{load.Echo, load.Ask}, spreads: true},
	{name: "go-net", path: "./servers/gonet", modes: []string{load.Echo, load.Ask}, adopts: true},
	{name: "netpoll", path: "./servers/netpoll", modes: []string{load.Echo, load.Ask}},
	{name: "gnet", path: "./servers/gnet", modes: []string{load.Echo, load.Ask}},
	{name: "nbio", path: "./servers/nbio", modes: []string{load.Echo, load.Ask}},
	{name: "evio", path: "./servers/evio", modes: []string{load.Echo, load.Ask}},
}

// build compiles the wanted peers into dir that have a part in one of the cells; no
// names means all. What cannot be built is skipped with a word on log: a machine
// without a C compiler still compares the Go servers.
func build(dir string, wanted []string, pinned bool, cells []Cell, log io.Writer) ([]Peer, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("build peers: %w", err)
	}
	var peers []Peer
	for _, s := range sources {
		if len(wanted) > 0 && !slices.Contains(wanted, s.name) || !hasPart(s.peer(""), cells) {
			continue
		}
		if s.spreads && pinned {
			if len(wanted) > 0 {
				fmt.Fprintf(log, "%s is left out: it needs -server-cpu -1\n", s.name)
			}
			continue
		}
		bin, err := filepath.Abs(filepath.Join(dir, s.name))
		if err != nil {
			return nil, fmt.Errorf("build peers: %w", err)
		}
		if out, err := s.compiler(bin).CombinedOutput(); err != nil {
			if !strings.HasSuffix(s.path, ".c") {
				return nil, fmt.Errorf("build %s: %w\n%s", s.name, err, out)
			}
			fmt.Fprintf(log, "%s is left out: it does not build here (needs a C compiler %s)\n", s.name, s.needs)
			continue
		}
		if err := writeBack(bin); err != nil {
			return nil, fmt.Errorf("build %s: %w", s.name, err)
		}
		peers = append(peers, s.peer(bin))
	}
	return peers, nil
}

func (s source) peer(bin string) Peer {
	return Peer{Name: s.name, Command: []string{bin, "{mode}", "{network}", "{address}"}, Modes: s.modes, Fragile: s.fragile, Adopts: s.adopts}
}

// hasPart reports whether the peer can do one of the cells.
func hasPart(p Peer, cells []Cell) bool {
	return slices.ContainsFunc(cells, func(c Cell) bool { return slices.Contains(p.Modes, c.serverMode()) })
}

func (s source) compiler(bin string) *exec.Cmd {
	if strings.HasSuffix(s.path, ".c") {
		return exec.Command("cc", append([]string{"-O2", "-w", "-o", bin, s.path}, s.libs...)...)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", bin, s.path)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd
}

// custom parses NAME=COMMAND. The words of the command are separated by
// spaces; no shell runs it, so that the process is the server itself.
func custom(arg string) (Peer, error) {
	name, command, ok := strings.Cut(arg, "=")
	words := strings.Fields(command)
	if !ok || name == "" || len(words) == 0 {
		return Peer{}, fmt.Errorf("peer %q is not NAME=COMMAND", arg)
	}
	return Peer{Name: name, Command: words}, nil
}

// daemon is the penstock binary with a configuration written for the cell.
func daemon(bin string) (Peer, error) {
	path, err := filepath.Abs(bin)
	if err != nil {
		return Peer{}, fmt.Errorf("penstock: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return Peer{}, fmt.Errorf("penstock: %w", err)
	}
	return Peer{Name: "penstock", Command: []string{path, "run", "-c", "{config}"}, Modes: []string{load.Echo, load.Ask, load.Room, load.Exec, load.ExecPipes, load.Proxy, load.Bridge}, Adopts: true}, writeBack(path)
}

// writeBack has the kernel write the pages of a new binary to disk. Until then
// they would count as dirty memory of the server that runs it.
func writeBack(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("write back: %w", err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write back: %w", err)
	}
	return nil
}

// config writes a configuration of the daemon that does what the other servers
// do, with limits that the cell does not reach, and returns its path.
func (g Rig) config(c Cell, address string) (string, error) {
	kind := map[string]string{
		load.Echo:      "kind = \"echo\"\n",
		load.Ask:       fmt.Sprintf("kind = \"lookup\"\ndelimiter = \"?\"\nanswers = { %q = %q }\n", load.Question, load.Answer),
		load.Room:      "kind = \"room\"\nmessage = \"{line}\"\nwelcome = \"\"\njoin = \"\"\nleave = \"\"\necho_to_sender = false\n",
		load.Exec:      "kind = \"exec\"\nio = \"socket\"\nmax_children = 64\ncommand = [\"/bin/cat\"]\n",
		load.ExecPipes: "kind = \"exec\"\nmax_children = 64\ncommand = [\"/bin/cat\"]\n",
		load.Proxy:     fmt.Sprintf("kind = \"proxy\"\nto = [%q]\n", g.behind),
		load.Bridge:    fmt.Sprintf("kind = \"bridge\"\ndevice = %q\nspeed = 115200\n", g.device),
	}[c.serverMode()]
	conns := c.Conns + c.Stuck + 16
	conns += conns/8 + 1 // a sixteenth of the places is not for a single address
	level := "warn"
	if c.Mode == load.Restart {
		level = "info" // restarted waits for what the next process says
	}
	text := fmt.Sprintf("[limits]\nconnections = %d\nper_source = %d\nmemory = \"256MiB\"\n\n[log]\nlevel = %q\n\n"+
		"[service.bench]\n%slisten = [%q]\nqueue = \"256KiB\"\n", conns, conns, level, kind, address)
	if c.Mode == start {
		text = g.startConfig(g.services)
	}
	path := filepath.Join(g.Dir, "penstock.toml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}
