// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"net/netip"
	"slices"
	"strconv"

	"penstock/daemon/internal/config"
)

// SocketName returns the name of the socket unit of a service.
func SocketName(service string) string { return "penstock-" + service + ".socket" }

// Running is a file that is there as long as the service's process runs: the
// process makes it in the folder of RuntimeDirectory= and removes it. The folder
// itself tells nothing, for it outlives a restart.
const Running = "/run/penstock/private/running"

// socketText is the socket unit of s. A key that systemd would understand the
// same way if it were left out is left out.
func socketText(source string, s *config.Service) (string, error) {
	var t text
	head(&t, "Socket of the penstock service "+s.Name, source)
	t.set("PartOf", Target)
	t.set("Before", Target)
	// A socket whose port was taken must not stay dead once it is free.
	t.set("StartLimitIntervalSec", "0")
	// The manager refuses to start a socket whose service runs, since it could
	// not pass it on any more. As a condition that is one quiet line in the
	// journal for each try of Upholds=, and not two errors.
	t.set("ConditionPathExists", "!"+Running)

	t.section("Socket")
	for _, a := range s.Listen {
		for _, line := range streams(s, a) {
			t.set("ListenStream", line)
		}
	}
	// While the service runs and a port is taken, Upholds= has the condition above
	// looked at sixteen times in ten seconds, with a line each time.
	t.set("LogLevelMax", "notice")
	t.set("FileDescriptorName", s.Name)
	t.set("Service", Service)
	for _, k := range config.SocketKeys {
		if values := k.Text(s); k.For&s.Families() != 0 && len(values) > 0 {
			t.set(k.Unit, values...)
		}
	}
	if s.Families()&config.Unix != 0 {
		// The manager binds anew at each start, so nobody can miss the file. What
		// was removed from the configuration has no unit any more that says this;
		// there apply clears up.
		t.set("RemoveOnStop", "yes")
	}
	ofTCP(&t, s)
	return t.b.String(), t.err
}

// streams spells an address for ListenStream=. All addresses of IPv6 and IPv4 are
// the bare port there: on a kernel without IPv6 the manager takes it for all of
// IPv4, while it would skip [::]:PORT.
//
// A service that asks for the machine's networks gets a socket for each family:
// in its sandbox it learns them through an IPv4 socket, and the one for both is
// of IPv6. The connection of a client can stand in for it, but not always.
func streams(s *config.Service, a config.Address) []string {
	port := strconv.Itoa(int(a.AddrPort.Port()))
	switch {
	case a.AddrPort.Addr() != netip.IPv6Unspecified():
		return []string{a.Text}
	case asksForNetworks(s):
		return []string{"0.0.0.0:" + port, "[::]:" + port}
	}
	return []string{port}
}

func asksForNetworks(s *config.Service) bool { return s.Allow.LocalSubnets || s.Deny.LocalSubnets }

// ofTCP writes the options of TCP sockets.
func ofTCP(t *text, s *config.Service) {
	if s.Families()&config.TCP == 0 {
		return
	}
	// All addresses of a unit fail together: one that the machine does not
	// have yet at boot would take the others down.
	t.set("FreeBind", "yes")
	if slices.ContainsFunc(s.Listen, func(a config.Address) bool { return a.AddrPort.Addr().Is6() }) {
		// The default follows net.ipv6.bindv6only, and IPv4 would be refused, or
		// find its port taken.
		only := "both"
		if asksForNetworks(s) {
			only = "ipv6-only"
		}
		t.set("BindIPv6Only", only)
	}
	if s.Families()&config.Unix != 0 {
		// The manager would try the options below on the Unix socket too, and
		// warn. The daemon sets on each connection what its socket lacks.
		return
	}
	// Accepted sockets inherit these, so the daemon need not set them on each.
	t.set("NoDelay", "yes")
	t.set("KeepAlive", "yes")
	t.set("KeepAliveTimeSec", strconv.Itoa(config.KeepAliveIdle))
	t.set("KeepAliveIntervalSec", strconv.Itoa(config.KeepAliveInterval))
	t.set("KeepAliveProbes", strconv.Itoa(config.KeepAliveProbes))
}
