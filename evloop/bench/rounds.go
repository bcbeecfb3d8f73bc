// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// A Plan says how often to run what.
//
// Servers are compared within a round only: they run one after the other, a
// few seconds apart, and the order is turned round each time, so that what
// drifts (temperature, neighbours, the kernel's memory) hits the first and the
// last alike. Running all rounds of one server and then all of the next was
// rejected: a neighbour's minute would be one server's result.
type Plan struct {
	Rounds  int           // quiet ones wanted
	Foreign float64       // share of a CPU used by others above which a run is disturbed
	Limit   time.Duration // for all cells together; 0: none
}

const (
	attempts = 3 // for a disturbed run, before its round is given up
	extra    = 2 // at most this many times Plan.Rounds in all
)

// runCell measures the cell for all peers and returns the records. The first
// round runs whatever the time is. Further rounds run only if they should end
// by until; zero means no such limit.
func (b *bench) runCell(ctx context.Context, c Cell, until time.Time) ([]Record, error) {
	peers := slices.DeleteFunc(slices.Clone(b.peers), func(p Peer) bool { return !p.can(c) })
	var all []Record
	failed := map[string]bool{}
	for round, quiet := 0, 0; quiet < b.plan.Rounds && round < extra*b.plan.Rounds; round++ {
		begin := time.Now()
		records, err := b.round(ctx, c, round, until, peers, failed)
		all = append(all, records...)
		if err != nil {
			return all, err
		}
		if undisturbed(records) {
			quiet++
		}
		slices.Reverse(peers)
		if now := time.Now(); past(until, now.Add(now.Sub(begin))) {
			break
		}
	}
	return all, nil
}

// past reports whether t is after until, if there is such a moment.
func past(until, t time.Time) bool { return !until.IsZero() && t.After(until) }

// round runs every peer once, a disturbed run again if there is time. A peer
// that fails is left out of the further rounds of the cell.
func (b *bench) round(ctx context.Context, c Cell, round int, until time.Time, peers []Peer, failed map[string]bool) ([]Record, error) {
	var records []Record
	for _, p := range peers {
		for attempt := range attempts {
			if failed[p.Name] || attempt > 0 && past(until, time.Now()) {
				break
			}
			if err := ctx.Err(); err != nil {
				return records, err
			}
			r := b.once(ctx, c, p, round, attempt)
			if r.Error != "" && ctx.Err() == nil {
				failed[p.Name] = true
				fmt.Fprintf(b.log, "%s: %s: %s\n", c, p.Name, r.Error)
			}
			records = append(records, r)
			if err := b.results.write(r); err != nil {
				return records, err
			}
			if r.Quiet {
				break
			}
		}
	}
	return records, nil
}

func (b *bench) once(ctx context.Context, c Cell, p Peer, round, attempt int) Record {
	r := Record{Cell: c, Peer: p.Name, Round: round, Attempt: attempt}
	result, err := b.rig.measure(ctx, p, c)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Result = result
	r.Quiet = result.Foreign <= b.plan.Foreign
	return r
}

// undisturbed reports whether every peer that did not fail has a quiet run.
func undisturbed(records []Record) bool {
	quiet := map[string]bool{}
	for _, r := range records {
		if r.Error == "" {
			quiet[r.Peer] = quiet[r.Peer] || r.Quiet
		}
	}
	for _, ok := range quiet {
		if !ok {
			return false
		}
	}
	return true
}

// bench is one invocation.
type bench struct {
	rig     Rig
	plan    Plan
	peers   []Peer
	results journal
	log     io.Writer
}
