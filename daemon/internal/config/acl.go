// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"penstock/daemon/internal/toml"
)

// localSubnets is the word for the networks this machine has an address in.
const localSubnets = "local-subnets"

// Sources is the value of "allow" or "deny": networks, and perhaps local-subnets.
// local-subnets stays a flag and is not turned into a list, because the machine's
// networks change while the configuration does not.
type Sources struct {
	Prefixes     []netip.Prefix // masked, never IPv4-mapped IPv6
	LocalSubnets bool
}

// Empty reports whether nothing was listed.
func (s Sources) Empty() bool { return len(s.Prefixes) == 0 && !s.LocalSubnets }

// Subnets is what local-subnets stands for at one moment.
type Subnets struct {
	Networks []netip.Prefix
	// Incomplete says that the machine may be in further IPv4 networks that could not
	// be found out. Then allow uses the list as it is, and deny treats every IPv4
	// address as local: in doubt no client is let in.
	Incomplete bool
}

// match returns the length of the longest of prefixes that holds addr, or -1.
func match(prefixes []netip.Prefix, addr netip.Addr) int {
	best := -1
	for _, p := range prefixes {
		if p.Contains(addr) {
			best = max(best, p.Bits())
		}
	}
	return best
}

// match returns the length of the longest prefix that holds addr, or -1.
func (s Sources) match(addr netip.Addr, local Subnets) int {
	best := match(s.Prefixes, addr)
	if s.LocalSubnets {
		best = max(best, match(local.Networks, addr))
	}
	return best
}

// Admits reports whether a client at addr may use s over TCP. The longest
// prefix of allow and deny that holds addr decides, deny if both are equally
// long. An address in neither is admitted unless there is an allow list.
// IPv4-mapped addresses, which a dual-stack listener reports, count as IPv4.
func (s *Service) Admits(addr netip.Addr, local Subnets) bool {
	addr = addr.Unmap().WithZone("") // a Prefix never contains a zoned address
	allow, deny := s.Allow.match(addr, local), s.Deny.match(addr, local)
	if s.Deny.LocalSubnets && local.Incomplete && addr.Is4() {
		deny = addr.BitLen()
	}
	if allow < 0 && deny < 0 {
		return s.Allow.Empty()
	}
	return allow > deny
}

// AdmitsUID reports whether a process of uid may use s over a Unix socket.
func (s *Service) AdmitsUID(uid uint32) bool {
	return len(s.AllowUID) == 0 || slices.Contains(s.AllowUID, uid)
}

// parsePrefix takes an address or a network. Bits beyond the length are an error and
// are not cut off, since 10.1.2.3/8 is most likely a mistake.
func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not an address or network such as 192.0.2.0/24", s)
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("%q has bits set beyond its length, write %s", s, m)
	}
	return p, nil
}

// parseSources turns the strings of "allow" or "deny" into Sources.
func parseSources(v any) (Sources, error) {
	var out Sources
	list, err := texts(v)
	errs := problemsOf(err)
	for _, s := range list {
		if s == localSubnets {
			out.LocalSubnets = true
			continue
		}
		p, err := parsePrefix(s)
		if err != nil {
			errs.add(fmt.Errorf("%w, or %q", err, localSubnets))
		}
		out.Prefixes = append(out.Prefixes, p)
	}
	return out, errs.err()
}

// Proxies is the value of "accept_proxy": who announces its clients by the PROXY protocol,
// and nobody else does.
type Proxies struct {
	Prefixes []netip.Prefix // masked, never IPv4-mapped IPv6
	Unix     bool           // whoever may connect over a Unix socket
}

// Empty reports whether nobody is listed.
func (p Proxies) Empty() bool { return len(p.Prefixes) == 0 && !p.Unix }

// Match reports whether a peer is listed: at addr, or on a Unix socket if that is the zero
// value.
func (p Proxies) Match(addr netip.Addr) bool {
	if !addr.IsValid() {
		return p.Unix
	}
	return match(p.Prefixes, addr.Unmap().WithZone("")) >= 0
}

// unixPeers is the word of accept_proxy for the peers on Unix sockets.
const unixPeers = "unix"

// parseProxies turns the strings of "accept_proxy" into Proxies.
func parseProxies(v any) (Proxies, error) {
	var out Proxies
	list, err := texts(v)
	errs := problemsOf(err)
	for _, s := range list {
		if s == unixPeers {
			out.Unix = true
			continue
		}
		p, err := parsePrefix(s)
		if err != nil {
			errs.add(fmt.Errorf("%w, or %q", err, unixPeers))
		}
		out.Prefixes = append(out.Prefixes, p)
	}
	return out, errs.err()
}

// unitWords are the names IPAddressAllow= and IPAddressDeny= know beside
// networks (systemd.resource-control(5)).
var unitWords = []string{"any", "localhost", "link-local", "multicast"}

// parseUnitSources takes the values of ip_allow and ip_deny and returns them
// in canonical form.
func parseUnitSources(v any) ([]string, error) {
	list, err := texts(v)
	errs := problemsOf(err)
	for i, s := range list {
		if slices.Contains(unitWords, s) {
			continue
		}
		p, err := parsePrefix(s)
		if err != nil {
			errs.add(fmt.Errorf("%w, or %s", err, strings.Join(unitWords, ", ")))
		}
		list[i] = p.String()
	}
	return list, errs.err()
}

// passwd and groupFile are where the names of users and groups are looked up. The name
// service switch is not asked: it needs a C library, and may need the network.
const (
	passwd    = "/etc/passwd"
	groupFile = "/etc/group"
)

// parseUIDs takes user ids, as numbers or as names.
func parseUIDs(v any) ([]uint32, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, wrongType(v, "an array of user names or numbers")
	}
	out, errs := make([]uint32, len(list)), problems{}
	users := sync.OnceValues(readUsers) // once for a list, however long it is
	for i, e := range list {
		if _, reported := e.(toml.Invalid); !reported {
			uid, err := parseUID(e, users)
			out[i] = uid
			errs.add(err)
		}
	}
	return out, errs.err()
}

func parseUID(v any, users func() (map[string]string, error)) (uint32, error) {
	switch v := v.(type) {
	case int64:
		if v < 0 || v >= math.MaxUint32 { // chown(2) reads the last number as "no user"
			return 0, fmt.Errorf("%d is not a user id", v)
		}
		return uint32(v), nil
	case string:
		return lookupUID(v, users)
	}
	return 0, wrongType(v, "a user name or number")
}

func lookupUID(name string, users func() (map[string]string, error)) (uint32, error) {
	return lookupID("user", name, passwd, users)
}

// lookupID finds the number of a user or a group among all in a file.
func lookupID(what, name, file string, all func() (map[string]string, error)) (uint32, error) {
	known, err := all()
	if err != nil {
		return 0, fmt.Errorf("look up %s %q: %w", what, name, err)
	}
	text, ok := known[name]
	if !ok {
		return 0, fmt.Errorf("there is no %s %q in %s", what, name, file)
	}
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("look up %s %q: %w", what, name, err)
	}
	return uint32(id), nil
}

func readUsers() (map[string]string, error) { return readIDs(passwd) }

func readGroups() (map[string]string, error) { return readIDs(groupFile) }

// readIDs returns the names in passwd(5) or group(5) with their numbers as text. If a
// name occurs twice, the first line counts.
func readIDs(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for line := range strings.Lines(string(data)) {
		field := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(field) < 3 || field[0] == "" {
			continue
		}
		if _, twice := ids[field[0]]; !twice {
			ids[field[0]] = field[2]
		}
	}
	return ids, nil
}
