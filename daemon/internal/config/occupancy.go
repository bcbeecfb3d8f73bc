// SPDX-License-Identifier: Apache-2.0

package config

// An occupancy tells in constant time which address that was opened before
// keeps another from being opened. For each place that an address takes it
// holds the first one there, once for each device and once for all:
//
//	[::]:7000        ::       any  any4
//	0.0.0.0:7000     0.0.0.0  any  any4
//	127.0.0.1:7000   itself   any  any4
//	[::1]:7000       itself   any
//	/run/x.sock      itself
//
// clash of a wildcard looks at the place of what it covers (any or any4). clash of any
// other address looks at its own place and at those of the wildcards that cover it.
// The alternative was to compare each address with each other; for the addresses that
// fit into a megabyte that takes ten seconds.
type occupancy map[place]*opened

// An opened is one address of a service.
type opened struct {
	service string
	device  string // bind_device, of TCP
	path    string // of Unix, without links
	written spelling
	Address
}

// A place is what only one address may have, seen from one device or all.
type place struct {
	port   uint16
	where  string
	device string // anyDevice: seen from all devices
}

const anyDevice = "*" // no device has this name

// add notes o in all its places.
func (y occupancy) add(o opened) {
	for _, where := range o.takes() {
		for _, device := range []string{o.device, anyDevice} {
			p := place{o.AddrPort.Port(), where, device}
			if _, ok := y[p]; !ok {
				y[p] = &o
			}
		}
	}
}

// clash returns an address that cannot be open beside o. Sockets on two devices
// can be open side by side.
func (y occupancy) clash(o opened) (opened, bool) {
	devices := []string{o.device, ""}
	if o.device == "" {
		devices = []string{anyDevice}
	}
	for _, where := range o.meets() {
		for _, device := range devices {
			if other, ok := y[place{o.AddrPort.Port(), where, device}]; ok {
				return *other, true
			}
		}
	}
	return opened{}, false
}

func (o opened) takes() []string {
	if o.Network == "unix" {
		return []string{o.path}
	}
	return takes(o.AddrPort.Addr())
}

func (o opened) meets() []string {
	if o.Network == "unix" {
		return []string{o.path}
	}
	return meets(o.AddrPort.Addr())
}
