// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os/exec"
	"slices"

	"penstock/evloop/bench/load"
)

// programs are what the distribution has for the work of the daemon's kinds. Each is told
// to serve more clients than a cell has, and is otherwise as its manual suggests.
var programs = []Peer{
	{Name: "haproxy", Command: []string{"haproxy", "-db", "-f", "{file}"}, Modes: []string{load.Proxy}, File: `global
    nbthread 1
    maxconn 4096
defaults
    mode tcp
    maxconn 4096
    timeout connect 30s
    timeout client 1h
    timeout server 1h
frontend bench
    bind {address}
    default_backend behind
backend behind
    server behind {behind}
`},
	{Name: "socket-proxyd", Modes: []string{load.Proxy}, Command: []string{
		"systemd-socket-activate", "--listen={address}", "/lib/systemd/systemd-socket-proxyd", "--connections-max=4096", "{behind}",
	}},
	{Name: "socat", Modes: []string{load.Proxy}, Command: []string{
		"socat", "TCP-LISTEN:{port},bind={host},fork,reuseaddr,backlog=4096,nodelay", "TCP:{behind},nodelay",
	}},
	{Name: "rinetd", Modes: []string{load.Proxy}, Command: []string{"rinetd", "-f", "-c", "{file}"}, File: "{host} {port} {behind host} {behind port}\n"},

	{Name: "ser2net", Modes: []string{load.Bridge}, Command: []string{"ser2net", "-n", "-d", "-c", "{file}"}, File: `%YAML 1.1
---
connection: &bench
  accepter: tcp,{host},{port}
  connector: serialdev,{device},115200n81,local
  options:
    max-connections: 1100
`},
	// ncat has no devices, so socat reads it and is one more client of ncat.
	{Name: "socat-ncat", Modes: []string{load.Bridge}, Command: []string{
		"sh", "-c", "socat -u {device},raw,echo=0 TCP:{address},retry=100,interval=0.05,nodelay & exec ncat --broker -m 1100 --listen {host} {port}",
	}},

	{Name: "tcpserver", Modes: []string{load.Exec}, Command: []string{"tcpserver", "-c", "64", "-H", "-R", "-l", "0", "{host}", "{port}", "/bin/cat"}},
	{Name: "xinetd", Modes: []string{load.Exec}, Command: []string{"xinetd", "-dontfork", "-f", "{file}"}, File: `service bench
{
 type = UNLISTED
 socket_type = stream
 protocol = tcp
 wait = no
 user = root
 bind = {host}
 port = {port}
 server = /bin/cat
 instances = 64
 per_source = UNLIMITED
 cps = 100000 1
}
`},
	{Name: "socket-activate", Modes: []string{load.Exec}, Command: []string{"systemd-socket-activate", "--accept", "--inetd", "--listen={address}", "/bin/cat"}},
	{Name: "ncat", Modes: []string{load.Exec}, Command: []string{"ncat", "-m", "64", "--keep-open", "--exec", "/bin/cat", "--listen", "{host}", "{port}"}},
	{Name: "socat-exec", Modes: []string{load.Exec}, Command: []string{
		"socat", "TCP-LISTEN:{port},bind={host},fork,reuseaddr,backlog=4096,nodelay", "EXEC:/bin/cat",
	}},
	{Name: "socat-exec-pipes", Modes: []string{load.ExecPipes}, Command: []string{
		"socat", "TCP-LISTEN:{port},bind={host},fork,reuseaddr,backlog=4096,nodelay", "EXEC:/bin/cat,pipes",
	}},
	{Name: "websocketd", Modes: []string{load.ExecPipes}, WebSocket: true, Command: []string{
		"websocketd", "--address={host}", "--port={port}", "--loglevel=error", "/bin/cat",
	}},
}

// installed returns the programs of the distribution that have a part in one of the cells.
// What is missing is skipped with a word on log, unless others were asked for.
func installed(wanted []string, cells []Cell, log io.Writer) (peers []Peer) {
	for _, p := range programs {
		if len(wanted) > 0 && !slices.Contains(wanted, p.Name) || !hasPart(p, cells) {
			continue
		}
		path, missing := find(p.Command[0])
		for _, needed := range needs[p.Name] {
			if _, err := find(needed); err != nil {
				missing = err
			}
		}
		if missing != nil {
			fmt.Fprintf(log, "%s is left out: it is not installed\n", p.Name)
			continue
		}
		p.Command = slices.Clone(p.Command)
		p.Command[0] = path
		peers = append(peers, p)
	}
	return peers
}

// needs are the programs of a peer beyond the first word of its command.
var needs = map[string][]string{
	"socat-ncat":    {"socat", "ncat"},
	"socket-proxyd": {"/lib/systemd/systemd-socket-proxyd"},
}

// find looks for a program also where the PATH of a user does not lead.
func find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return exec.LookPath("/usr/sbin/" + name)
	}
	return path, nil
}
