// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/unit"
)

// Preview writes to Out what Run would do, and whose clients it would disconnect. It
// changes nothing. inForce is what the running service serves; nil: it is not known.
//
// It compares what the generator would write with what was applied, as Run does after
// the generator has written it.
func (a *Applier) Preview(cfg, inForce *config.Config) error {
	before, err := a.applied()
	if err != nil {
		return err
	}
	now, err := a.generate(cfg)
	if err != nil {
		return err
	}
	want, masked := a.wanted(cfg, texts(now))
	h, err := a.observe(want)
	if err != nil {
		return err
	}
	h.lost = a.lost(before, now, want, h)
	p := decide(before, now, want, h)
	for _, name := range masked {
		a.say("%s: masked, left alone", name)
	}
	for _, name := range slices.Sorted(maps.Keys(p.reasons)) {
		a.say("%s: %s", name, p.reasons[name])
	}
	if len(p.stop) > 0 {
		a.say("would stop %s", strings.Join(p.stop, " "))
	}
	switch {
	case len(p.restart) > 0:
		a.say("would restart %s", strings.Join(p.restart, " "))
		if h.running() {
			a.sayAll(disconnected(inForce, cfg))
			a.sayAll(notCarried(inForce, cfg))
		}
	case p.reload:
		a.say("would reload %s", unit.Service)
		a.sayAll(disconnected(inForce, cfg))
	case len(p.stop) == 0:
		a.say("would do nothing: %s does not run", unit.Service)
	}
	a.sayAll(cfg.Around(a.Root))
	return nil
}

func (a *Applier) sayAll(lines []string) {
	for _, line := range lines {
		a.say("%s", line)
	}
}

// notCarried returns a line for each service whose clients a restart would disconnect
// whatever the files say.
func notCarried(inForce, next *config.Config) (lines []string) {
	if inForce == nil {
		return nil
	}
	for _, s := range inForce.Services {
		goesOn := func(n *config.Service) bool { return n.Name == s.Name && s.Continues(n) }
		if s.Persist == config.PersistOff && slices.ContainsFunc(next.Services, goesOn) {
			lines = append(lines, fmt.Sprintf("service %s: does not keep connections (persist), its clients would be disconnected", s.Name))
		}
	}
	return lines
}

// disconnected returns a line for each service some of whose clients a reload or a
// restart would disconnect.
func disconnected(inForce, next *config.Config) (lines []string) {
	if inForce == nil {
		return []string{unit.Service + ": what it serves is not known; clients of services with another kind or delimiter would be disconnected"}
	}
	services := map[string]*config.Service{}
	for _, s := range next.Services {
		services[s.Name] = s
	}
	for _, was := range inForce.Services {
		s := services[was.Name]
		switch {
		case s == nil:
			lines = append(lines, fmt.Sprintf("service %s: removed, its clients would be disconnected", was.Name))
		case was.Kind != s.Kind:
			lines = append(lines, fmt.Sprintf("service %s: kind changes from %s to %s, its clients would be disconnected", s.Name, was.Kind, s.Kind))
		case !was.Continues(s):
			lines = append(lines, fmt.Sprintf("service %s: the end of a message changes, its clients would be disconnected", s.Name))
		case s.MaxLine < was.MaxLine && s.Delimiter() != "":
			lines = append(lines, fmt.Sprintf("service %s: clients that have sent more than %d bytes of a line would be disconnected", s.Name, s.MaxLine))
		}
	}
	return lines
}
