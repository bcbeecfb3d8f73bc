// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
	"time"

	"penstock/evloop/bench/load"
)

// A Spread is the median of some values with their extremes. The zero value
// says that there are none.
type Spread struct{ Median, Min, Max float64 }

func spread(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return Spread{(s[(n-1)/2] + s[n/2]) / 2, s[0], s[n-1]}
}

// A Line is what the table says of one peer in one cell.
type Line struct {
	Peer     string
	Rounds   int    // rounds in which this server and the base were quiet
	Ops      Spread // a second
	OpsRatio Spread // to the base in the same round
	CPU      Spread // nanoseconds an operation
	CPURatio Spread
	Switches Spread // context switches an operation
	Busy     Spread // share of the server's CPU
	P50, P99 Spread // microseconds
	Silence  Spread // milliseconds
	Wait     Spread // ratio of P50
	Late     Spread // ratio of P99

	OpenedBytes, UsedBytes   Spread // own memory for a connection
	RestKiB, RestDirtyKiB    Spread // resident and private dirty with no connection
	WakeupsPerS, IdleCPUPerS Spread // with idle connections; microseconds
	Files                    Spread // descriptors for a connection

	Stalled Spread // milliseconds that a device was not read
	Clean   Spread // share of the connections with a reset backend that ended as if all had been said

	Calm, Restart Pauses // before a restart, and with it
	Refused       Spread // fresh connections
	Error         string
}

// Pauses are those of load.Pauses, in milliseconds.
type Pauses struct{ Longest, P99, Fresh Spread }

// summarize turns the records of one cell into lines, in the order in which
// the peers are given; the first of them that has a quiet run is the base.
func summarize(records []Record, order []string) []Line {
	quiet := map[string]map[int]load.Result{} // by peer and round
	errs := map[string]string{}
	for _, r := range records {
		if r.Error != "" {
			errs[r.Peer] = r.Error
		}
		if !r.Quiet {
			continue
		}
		if quiet[r.Peer] == nil {
			quiet[r.Peer] = map[int]load.Result{}
		}
		quiet[r.Peer][r.Round] = r.Result
	}
	var base map[int]load.Result
	var lines []Line
	for _, name := range order {
		runs := quiet[name]
		if len(runs) == 0 {
			if errs[name] != "" {
				lines = append(lines, Line{Peer: name, Error: errs[name]})
			}
			continue
		}
		if base == nil {
			base = runs
		}
		l := line(runs, base)
		l.Peer, l.Error = name, errs[name]
		l.memory(records)
		lines = append(lines, l)
	}
	return lines
}

// calmest returns the least disturbed run of each server in each round, as if
// it were quiet. It does so only if a server that runs has no quiet round in
// common with the base of lines, and otherwise returns nil. Without it, a
// machine that is never quiet would get a table with holes, or with ratios to a
// server that is not the base elsewhere.
func calmest(records []Record, lines []Line) []Record {
	missing := func(r Record) bool {
		i := slices.IndexFunc(lines, func(l Line) bool { return l.Peer == r.Peer })
		return r.Error == "" && (i < 0 || lines[i].Rounds == 0 && lines[i].Error == "")
	}
	if !slices.ContainsFunc(records, missing) {
		return nil
	}
	var best []Record
	for _, r := range records {
		i := slices.IndexFunc(best, func(b Record) bool { return b.Peer == r.Peer && b.Round == r.Round })
		r.Quiet = r.Error == ""
		switch {
		case i < 0:
			best = append(best, r)
		case r.Quiet && r.Result.Foreign < best[i].Result.Foreign:
			best[i] = r
		}
	}
	return best
}

func line(runs, base map[int]load.Result) Line {
	over := func(f func(r load.Result) float64) Spread {
		var v []float64
		for _, r := range runs {
			v = append(v, f(r))
		}
		return spread(v)
	}
	ratio := func(f func(r load.Result) float64) Spread {
		var v []float64
		for round, r := range runs {
			if b, ok := base[round]; ok && f(b) > 0 {
				v = append(v, f(r)/f(b))
			}
		}
		return spread(v)
	}
	l := Line{
		Ops: over(opsPerSecond), OpsRatio: ratio(opsPerSecond),
		CPU: over(cpuPerOp), CPURatio: ratio(cpuPerOp),
		Switches: over(func(r load.Result) float64 { return perOp(float64(r.Server.Switches), r) }),
		Busy:     over(func(r load.Result) float64 { return r.Server.CPU.Seconds() / r.Elapsed.Seconds() }),
		P50:      over(func(r load.Result) float64 { return micros(r.P50) }),
		P99:      over(func(r load.Result) float64 { return micros(r.P99) }),
		Wait:     ratio(func(r load.Result) float64 { return micros(r.P50) }),
		Late:     ratio(func(r load.Result) float64 { return micros(r.P99) }),
		Silence:  over(func(r load.Result) float64 { return micros(r.Silence) / 1000 }),
	}
	for round := range runs {
		if _, ok := base[round]; ok {
			l.Rounds++
		}
	}
	l.RestKiB = over(func(r load.Result) float64 { return float64(r.Empty.Resident) / 1024 })
	l.RestDirtyKiB = over(func(r load.Result) float64 { return float64(r.Empty.PrivateDirty) / 1024 })
	l.WakeupsPerS = over(func(r load.Result) float64 { return float64(r.Server.Switches) / r.Elapsed.Seconds() })
	l.IdleCPUPerS = over(func(r load.Result) float64 { return micros(r.Server.CPU) / r.Elapsed.Seconds() })
	pauses := func(of func(r load.Result) load.Pauses) Pauses {
		return Pauses{
			Longest: over(func(r load.Result) float64 { return micros(of(r).Longest) / 1000 }),
			P99:     over(func(r load.Result) float64 { return micros(of(r).P99) / 1000 }),
			Fresh:   over(func(r load.Result) float64 { return micros(of(r).Fresh) / 1000 }),
		}
	}
	l.Calm = pauses(func(r load.Result) load.Pauses { return r.Calm })
	l.Restart = pauses(func(r load.Result) load.Pauses { return r.Restart })
	l.Stalled = over(func(r load.Result) float64 { return micros(r.Stalled) / 1000 })
	l.Clean = over(func(r load.Result) float64 { return perOp(float64(r.Refused), r) })
	l.Refused = over(func(r load.Result) float64 { return float64(r.Refused) })
	return l
}

// memory adds what needs the number of connections. The pages of the program do not count:
// they are as many for one connection as for thousands, and the daemon gives back those of
// its start while the connections are opened.
func (l *Line) memory(records []Record) {
	var opened, used, files []float64
	for _, r := range records {
		if r.Quiet && r.Peer == l.Peer && r.Cell.Conns > 0 {
			n := float64(r.Cell.Conns)
			opened = append(opened, float64(r.Result.Opened.Anonymous-r.Result.Empty.Anonymous)/n)
			used = append(used, float64(r.Result.Used.Anonymous-r.Result.Empty.Anonymous)/n)
			files = append(files, float64(r.Result.Files)/n)
		}
	}
	l.OpenedBytes, l.UsedBytes, l.Files = spread(opened), spread(used), spread(files)
}

func opsPerSecond(r load.Result) float64 { return float64(r.Ops) / r.Elapsed.Seconds() }

func cpuPerOp(r load.Result) float64 { return perOp(float64(r.Server.CPU), r) }

func perOp(v float64, r load.Result) float64 {
	if r.Ops == 0 {
		return math.NaN()
	}
	return v / float64(r.Ops)
}

func micros(d time.Duration) float64 { return float64(d) / 1e3 }
