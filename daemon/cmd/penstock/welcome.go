// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"
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
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.Name, s.Kind, a, s.Try(target(a)))
				continue
			}
			fmt.Fprintf(table, "\t\t%s\t\n", a)
		}
	}
	_ = table.Flush() // a closed stdout is no reason not to serve
	fmt.Fprintln(w, "Stop with Ctrl-C.")
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
