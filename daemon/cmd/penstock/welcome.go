// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"

	"penstock/daemon/internal/config"
)

// welcome prints what listens where and one line to try for each service. It
// is for the person who typed the command; records of the log say the same to
// everybody else.
func welcome(w io.Writer, cfg *config.Config) {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "SERVICE\tKIND\tLISTENING ON\tTRY")
	for _, s := range cfg.Services {
		for i, a := range s.Listen {
			if i == 0 {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.Name, s.Kind, a, try(s, a))
				continue
			}
			fmt.Fprintf(table, "\t\t%s\t\n", a)
		}
	}
	_ = table.Flush() // a closed stdout is no reason not to serve
	fmt.Fprintln(w, "Stop with Ctrl-C.")
}

// try is a shell command that shows the service at work, for the netcat that
// Debian has (-N: half-close at the end of input, -d: no input).
func try(s *config.Service, a config.Address) string {
	to := target(a)
	switch s.Kind {
	case config.KindLookup:
		return "printf '" + question(s.Lookup) + "' | nc -N " + to
	case config.KindEcho, config.KindHandler:
		return "echo hello | nc -N " + to
	case config.KindDiscard:
		return "echo gone | nc -N " + to
	case config.KindChargen:
		return "nc -d " + to + " | head -n 3"
	case config.KindTime:
		return "nc -d " + to + " | od -A n -t u1"
	case config.KindRoom:
		if s.Room.Preset == config.PresetTwisted {
			return "nc -C " + to
		}
		return "nc " + to
	default:
		return "nc -d " + to
	}
}

// target is the address as arguments of nc; all addresses are tried on
// loopback.
func target(a config.Address) string {
	if a.Network == "unix" {
		return "-U " + a.Path
	}
	ip := a.AddrPort.Addr()
	switch ip {
	case netip.IPv4Unspecified():
		ip = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		ip = netip.IPv6Loopback()
	}
	return fmt.Sprintf("%s %d", ip, a.AddrPort.Port())
}

// question picks one that the table answers and that needs no quoting.
func question(l *config.Lookup) string {
	for _, q := range slices.Sorted(maps.Keys(l.Answers)) {
		if !strings.ContainsAny(q, `'\%`) {
			return q + strings.ReplaceAll(l.Delimiter, "\n", `\n`)
		}
	}
	return "hello" + strings.ReplaceAll(l.Delimiter, "\n", `\n`)
}
