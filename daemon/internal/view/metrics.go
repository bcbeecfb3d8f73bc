// SPDX-License-Identifier: Apache-2.0

package view

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The text format of Prometheus, version 0.0.4, is a few lines for each metric:
//
//	# HELP penstock_connections Clients that are connected.
//	# TYPE penstock_connections gauge
//	penstock_connections{service="lobby",kind="room"} 3
//
// It is written by hand, because the library for it would double the program's size.

// MetricsType is the Content-Type of what WriteMetrics writes.
const MetricsType = "text/plain; version=0.0.4; charset=utf-8"

// A metric is a row: its name without "penstock_", what it is, and its values.
type metric struct {
	name, kind, help string
	process          func(*Snapshot) uint64           // without labels; nil: it is of each service
	seconds          func(*Snapshot) time.Duration    // the same; nil: it is no time
	bounds           func(*Snapshot) []uint64         // by length of turn, beside seconds
	service          func(*Service) uint64            // nil: it is of each reason
	reasons          func(*Service) map[string]uint64 // of each reason of each service
}

const (
	gauge   = "gauge"
	counter = "counter"
	histo   = "histogram"
)

var metrics = []metric{
	{name: "ready", kind: gauge, help: "1 if the daemon serves and no reload is under way.", process: func(s *Snapshot) uint64 { return flag(s.Phase == "ready") }},
	{name: "config_refused", kind: gauge, help: "1 if the files were refused and an older configuration is in force.", process: func(s *Snapshot) uint64 { return flag(s.Refused != "") }},
	{name: "uptime_seconds", kind: gauge, help: "Time since the process began to serve.", process: func(s *Snapshot) uint64 { return uint64(s.Uptime.Seconds()) }},
	{name: "connections_limit", kind: gauge, help: "How many clients there may be.", process: func(s *Snapshot) uint64 { return uint64(s.Limit) }},
	{name: "loop_turns_total", kind: counter, help: "Turns of the event loop.", process: func(s *Snapshot) uint64 { return s.Loop.Turns }},
	{name: "loop_queued_bytes", kind: gauge, help: "Bytes that wait to be sent, or to be taken by a service.", process: func(s *Snapshot) uint64 { return uint64(s.Loop.Queued) }},
	{name: "loop_accept_errors_total", kind: counter, help: "Failed calls of accept4(2).", process: func(s *Snapshot) uint64 { return s.Loop.AcceptErrors }},
	{name: "loop_asleep_seconds_total", kind: counter, help: "Time that the event loop has slept.", seconds: func(s *Snapshot) time.Duration { return s.Loop.Asleep }},
	{name: "loop_longest_turn_seconds", kind: gauge, help: "Longest turn of the event loop since the start.", seconds: func(s *Snapshot) time.Duration { return s.Loop.Longest }},
	{name: "loop_turn_seconds", kind: histo, help: "How long turns of the event loop took.", seconds: func(s *Snapshot) time.Duration { return s.Loop.Busy }, bounds: func(s *Snapshot) []uint64 { return s.Loop.Took }},

	{name: "connections", kind: gauge, help: "Clients that are connected.", service: func(s *Service) uint64 { return uint64(s.Clients) }},
	{name: "connections_peak", kind: gauge, help: "The most clients there have been at once.", service: func(s *Service) uint64 { return uint64(s.Most) }},
	{name: "connections_accepted_total", kind: counter, help: "Clients that were let in.", service: func(s *Service) uint64 { return s.Accepted }},
	{name: "connections_refused_total", kind: counter, help: "Clients that were not let in.", reasons: func(s *Service) map[string]uint64 { return s.Refused }},
	{name: "connections_cut_total", kind: counter, help: "Clients that were cut off.", reasons: func(s *Service) map[string]uint64 { return s.Cut }},
	{name: "received_bytes_total", kind: counter, help: "Bytes from clients.", service: func(s *Service) uint64 { return s.Bytes.In }},
	{name: "sent_bytes_total", kind: counter, help: "Bytes to clients.", service: func(s *Service) uint64 { return s.Bytes.Out }},
	{name: "messages_dropped_total", kind: counter, help: "Messages for clients that did not read.", service: func(s *Service) uint64 { return s.Dropped }},
	{name: "messages_lost_total", kind: counter, help: "Messages of clients that were not served.", reasons: func(s *Service) map[string]uint64 { return s.Lost }},
	{name: "listeners_missing", kind: gauge, help: "Addresses of the file that nothing listens on.", service: func(s *Service) uint64 { return uint64(len(s.Missing)) }},
	{name: "source_errors_total", kind: counter, help: "Errors that the device of a bridge has counted.", reasons: sourceErrors},
}

func flag(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}

func sourceErrors(s *Service) map[string]uint64 {
	if s.Source == nil {
		return nil
	}
	return map[string]uint64{"overrun": s.Source.Overrun, "frame": s.Source.Frame, "parity": s.Source.Parity, "break": s.Source.Break}
}

// WriteMetrics writes the snapshot for Prometheus. Bytes of its services must be set.
func (s *Snapshot) WriteMetrics(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "# HELP penstock_build_info The version, as a label.\n# TYPE penstock_build_info gauge\npenstock_build_info{version=%s} 1\n", label(s.Version))
	services := merged(s.Services)
	for _, m := range metrics {
		fmt.Fprintf(w, "# HELP penstock_%s %s\n# TYPE penstock_%s %s\n", m.name, m.help, m.name, m.kind)
		if m.process != nil {
			fmt.Fprintf(w, "penstock_%s %d\n", m.name, m.process(s))
			continue
		}
		if m.seconds != nil {
			m.writeTime(w, s)
			continue
		}
		for i := range services {
			m.write(w, &services[i])
		}
	}
	return w.Flush()
}

func (m metric) write(w io.Writer, s *Service) {
	labels := "service=" + label(s.Name) + ",kind=" + label(s.Kind)
	if m.service != nil {
		fmt.Fprintf(w, "penstock_%s{%s} %d\n", m.name, labels, m.service(s))
		return
	}
	counts := m.reasons(s)
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "penstock_%s{%s,reason=%s} %d\n", m.name, labels, label(reason), counts[reason])
	}
}

// writeTime writes a time, or a histogram.
func (m metric) writeTime(w io.Writer, s *Snapshot) {
	if m.bounds == nil {
		fmt.Fprintf(w, "penstock_%s %s\n", m.name, seconds(m.seconds(s)))
		return
	}
	counts, sum := m.bounds(s), uint64(0)
	for i, n := range counts {
		sum += n
		bound := "+Inf"
		if i < len(counts)-1 {
			bound = seconds(TurnBound(i))
		}
		fmt.Fprintf(w, "penstock_%s_bucket{le=%s} %d\n", m.name, label(bound), sum)
	}
	fmt.Fprintf(w, "penstock_%s_sum %s\npenstock_%s_count %d\n", m.name, seconds(m.seconds(s)), m.name, sum)
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// label quotes the value of a label.
func label(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// merged adds a service that ends to the one that has its name and kind now, since no
// metric may be there twice with the same labels.
func merged(services []Service) (out []Service) {
	at := make(map[[2]string]int)
	for _, s := range services {
		i, twice := at[[2]string{s.Name, s.Kind}]
		if !twice {
			at[[2]string{s.Name, s.Kind}] = len(out)
			out = append(out, s)
			continue
		}
		m := &out[i]
		m.Clients, m.Most = m.Clients+s.Clients, max(m.Most, s.Most)
		m.Accepted, m.Dropped = m.Accepted+s.Accepted, m.Dropped+s.Dropped
		m.Bytes = Traffic{m.Bytes.In + s.Bytes.In, m.Bytes.Out + s.Bytes.Out}
		m.Refused, m.Cut, m.Lost = added(m.Refused, s.Refused), added(m.Cut, s.Cut), added(m.Lost, s.Lost)
	}
	return out
}

func added(a, b map[string]uint64) map[string]uint64 {
	sums := make(map[string]uint64, len(a))
	for _, counts := range []map[string]uint64{a, b} {
		for reason, n := range counts {
			sums[reason] += n
		}
	}
	return sums
}
