// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net/netip"

	"penstock/daemon/internal/config"
)

// welcome prints what listens where and one line to try for each service. It
// is for the person who typed the command; records of the log say the same to
// everybody else.
func welcome(w io.Writer, cfg *config.Config) {
	t := table{columns: []column{{head: "SERVICE"}, {head: "KIND"}, {head: "LISTENING ON"}, {head: "TRY"}}}
	for _, s := range cfg.Services {
		for i, a := range s.Listen {
			if i == 0 {
				t.add(s.Name, string(s.Kind), a.String(), s.Try(target(a)))
				continue
			}
			t.add("", "", a.String(), "")
		}
	}
	t.write(w)
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
