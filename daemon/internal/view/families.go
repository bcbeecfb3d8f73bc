// SPDX-License-Identifier: Apache-2.0

package view

import (
	"maps"
	"slices"
	"strings"
)

// What Prometheus gets is also told in the terms of io.systemd.Metrics, which systemd-report
// gathers: families of values, whose names begin with that of the socket. They are made
// from the same rows, so that no number has two meanings. A histogram has no place there.

// FamilyPrefix begins the name of each family. The control socket is linked under that name
// in /run/systemd/report.
const FamilyPrefix = "penstock.Control."

// A Family describes values of one name.
type Family struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Type        string `json:"type"` // counter or gauge
}

// A Value is one of a family.
type Value struct {
	Name   string            `json:"name"`
	Value  any               `json:"value"` // a number
	Object string            `json:"object,omitempty"`
	Fields map[string]string `json:"fields,omitempty"`
}

// Families returns all, in the order of Values.
func Families() (all []Family) {
	for _, m := range metrics {
		if m.bounds == nil {
			all = append(all, Family{m.family(), m.help, m.kind})
		}
	}
	return all
}

// family returns the name: "penstock.Control.LoopTurnsTotal".
func (m metric) family() string {
	name := FamilyPrefix
	for word := range strings.SplitSeq(m.name, "_") {
		name += strings.ToUpper(word[:1]) + word[1:]
	}
	return name
}

// Values returns those of the process.
func (s *Snapshot) Values() (all []Value) {
	for _, m := range metrics {
		switch {
		case m.process != nil:
			all = append(all, Value{Name: m.family(), Value: m.process(s)})
		case m.seconds != nil && m.bounds == nil:
			all = append(all, Value{Name: m.family(), Value: m.seconds(s).Seconds()})
		}
	}
	return all
}

// Merged returns the services, each name and kind once: one that ends is added to the one
// that is there now.
func (s *Snapshot) Merged() []Service { return merged(s.Services) }

// Values returns those of the service, of which Bytes must be set. There is at least one.
func (s *Service) Values() (all []Value) {
	for _, m := range metrics {
		switch {
		case m.service != nil:
			all = append(all, Value{Name: m.family(), Value: m.service(s), Object: s.Name, Fields: map[string]string{"kind": s.Kind}})
		case m.reasons != nil:
			counts := m.reasons(s)
			for _, reason := range slices.Sorted(maps.Keys(counts)) {
				all = append(all, Value{Name: m.family(), Value: counts[reason], Object: s.Name, Fields: map[string]string{"kind": s.Kind, "reason": reason}})
			}
		}
	}
	return all
}
