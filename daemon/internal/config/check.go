// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The rules here are about several keys together; keys.go says what a single key may
// hold. A rule refuses only what must be a mistake: a setting that would have no
// effect although somebody relies on it, or a service that no client could use.

// ownFolders belong to the packaged service. The manager empties the first one at
// each stop, and each apply makes the second one anew. A socket in them would lose
// its file and could not be reached any more.
var ownFolders = []string{"/run/penstock/private/", "/run/penstock/applied/"}

// ControlPath is where the service manager listens for those who ask the daemon
// (penstock-control.socket). What listens there in its place would be believed.
const ControlPath = "/run/penstock/control"

// check reports what the keys of one service mean together.
func (b *builder) check(d described, limits Limits) {
	if _, ok := d.at["kind"]; !ok {
		b.wrong(d.where("kind"), fmt.Errorf("missing, want one of %s", quoted(Kinds())))
	}
	if _, ok := d.at["listen"]; !ok {
		b.wrong(d.where("listen"), errors.New(`missing, want an array such as ["127.0.0.1:7000"]`))
	}
	for i, a := range d.Listen {
		if folder, own := ownFolder(a.realPath()); own {
			say := b.warn
			if _, plain := ownFolder(d.spelled(i).path); plain {
				say = b.wrong
			}
			say(d.where("listen"), fmt.Errorf("%q: what is in %s is removed while the socket listens", a.Text, folder))
		}
		if a.Path == ControlPath || a.realPath() == ControlPath {
			b.wrong(d.where("listen"), fmt.Errorf("%q: is where the control socket is", a.Text))
		}
	}
	if err := checkOverflow(d.Kind, d.Overflow); err != nil {
		b.wrong(d.where("overflow"), err)
	}
	if _, ok := d.at["queue"]; ok && int64(d.Queue) > limits.Memory {
		b.wrong(d.where("queue"), fmt.Errorf("%s for one client is more than limits.memory, %s for all",
			formatSize(int64(d.Queue)), formatSize(limits.Memory)))
	}
	if _, ok := d.at["per_source"]; ok && limits.PerSource > 0 && d.PerSource > limits.PerSource {
		b.warn(d.where("per_source"), fmt.Errorf("%d of this service is more than limits.per_source, %d of all together, which holds",
			d.PerSource, limits.PerSource))
	}
	b.checkFamilies(d)
	if check := d.Kind.row().check; check != nil {
		check(b, d)
	}
}

// checkIdle says which service keeps a process that exit_idle would end.
func (b *builder) checkIdle(c *Config) {
	first := slices.IndexFunc(c.Services, (*Service).AtBoot)
	if c.Limits.ExitIdle == 0 || first < 0 {
		return
	}
	why := "start"
	if c.Services[first].Start != StartBoot {
		why = "mqtt"
	}
	for _, e := range slices.Backward(b.entries) {
		if e.section == "limits" && e.key == "exit_idle" {
			b.warn(e, fmt.Errorf("has no effect: service.%s runs from the boot on (%s)", c.Services[first].Name, why))
			return
		}
	}
}

func ownFolder(path string) (folder string, own bool) {
	i := slices.IndexFunc(ownFolders, func(f string) bool { return strings.HasPrefix(path, f) })
	if i < 0 {
		return "", false
	}
	return ownFolders[i], true
}

// fits refuses a fixed text that is larger than the queue: it would not fit for any
// client, not even for one that reads fast.
func (b *builder) fits(d described, key, s string) {
	if len(s) > d.Queue {
		b.wrong(d.where(key), fmt.Errorf("has %d bytes, more than queue (%s) takes", len(s), formatSize(int64(d.Queue))))
	}
}

// checkOverlaps finds addresses that two services would open, or one service twice.
// The second bind(2) would fail at the start, and would not say which two clash. If
// an address clashes with several others, only the first of them is named: three
// hundred services on one port make 299 mistakes and not 44,850.
func (b *builder) checkOverlaps(all []described) {
	taken := occupancy{}
	for _, d := range all {
		var once []Address
		for i, a := range d.Listen {
			o := opened{service: d.Name, device: d.BindDevice, Address: a, written: d.spelled(i)}
			if a.Network == "unix" {
				o.device, o.path = "", a.realPath() // bind_device has no effect on a Unix socket
			}
			other, clash := taken.clash(o)
			switch {
			case clash && o.written.clashes(other.written):
				b.wrong(d.where("listen"), overlap(d.Name, a, other.service, other.Address))
			case clash && a == other.Address && d.Name == other.service:
				b.warn(d.where("listen"), fmt.Errorf("%s is there twice, in two spellings, and opened once", a))
				continue
			case clash:
				b.warn(d.where("listen"), fmt.Errorf("%w; clients reach only one of the two", overlap(d.Name, a, other.service, other.Address)))
			}
			taken.add(o)
			once = append(once, a)
		}
		d.Listen = once
	}
}

func overlap(name string, a Address, other string, o Address) error {
	whose := "service." + other
	if name == other {
		whose = "this service"
	}
	if a == o {
		return fmt.Errorf("%s is opened twice, here and by %s", a, whose)
	}
	if a.Network == "unix" {
		return fmt.Errorf("%s is the same file as %s of %s", a, o, whose)
	}
	return fmt.Errorf("%s cannot be opened beside %s of %s, one covers the other", a, o, whose)
}
