// SPDX-License-Identifier: Apache-2.0

// Command bench puts evloop and penstock beside what an engineer would use
// instead, on the machine at hand, in one run.
//
//	bench [flags] [NAME=COMMAND ...]
//	bench -kind proxy|bridge|exec [flags] [NAME=COMMAND ...]
//	bench -restart [flags]
//	bench -curve [flags]
//	bench figure RESULTS > FIGURE.svg
//	bench curve RESULTS > FIGURE.svg
//
// Each NAME=COMMAND is one more server. Its command line may hold {mode} (echo,
// ask or room), {network} (tcp or unix), {address}, {host} and {port}, and with -kind
// {behind}, {behind host}, {behind port} or {device}; the process itself must be the
// server. Without C compiler or libraries the C
// servers are left out, and the first of the rest is what the others are
// compared with.
//
// The results go to standard output as a table and to a file as JSON lines.
// With -kind the servers pass on bytes between clients and another server (proxy), a
// device (bridge) or a program for each (exec), beside what the distribution has for
// that (kinds.go). With -curve the number of connections grows (curve.go). With -restart the servers restart under load instead, and the table says for how
// long their clients wait (restart.go).
//
// See package load for what the clients do, and Plan for how runs are ordered.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"penstock/evloop/bench/sample"
)

// yardstick is the server that the others are compared with, if it is there.
const yardstick = "c-epoll"

// quickLimit is what is left of three minutes when the servers have been built.
// It is enough for all rounds on a quiet machine; on any other, repeating
// disturbed rounds would take three times as long.
const quickLimit = 160 * time.Second

// restartLimit is enough for all rounds of -restart on a quiet machine, as quickLimit
// is for -quick.
const restartLimit = 8 * time.Minute

// settings are the command line.
type settings struct {
	quick, restart     bool
	curve              bool
	kind               string
	cells, peers, base string
	penstock, out      string
	serverCPU, loadCPU int
	plan               Plan
	warmup, window     time.Duration
	custom             []string
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == "load" {
		exit(loadMain(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == "figure" {
		exit(figureMain(os.Args[2], yardstick, os.Stdout))
	}
	if len(os.Args) == 3 && os.Args[1] == "curve" {
		exit(curveMain(os.Args[2], os.Stdout))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exit(run(ctx, parse(), os.Stdout, os.Stderr))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func parse() settings {
	var s settings
	flag.BoolVar(&s.quick, "quick", false, "the main cells only, in three minutes")
	flag.BoolVar(&s.restart, "restart", false, "instead of the comparison, the pause of a restart under load")
	flag.BoolVar(&s.curve, "curve", false, "instead of the comparison, the cost as connections grow to 20,000")
	flag.StringVar(&s.kind, "kind", "", "instead of the comparison, that of a `kind` of service: proxy, bridge or exec")
	flag.StringVar(&s.cells, "cells", "", "comma-separated `patterns` of the cells to run, such as \"echo tcp (64|1000) 64B x1\"")
	flag.StringVar(&s.peers, "peers", "", "comma-separated `names` of the built-in servers to run")
	flag.StringVar(&s.base, "base", yardstick, "`name` of the server to compare with")
	flag.StringVar(&s.penstock, "penstock", "", "`path` of the penstock binary, which then takes part")
	flag.StringVar(&s.out, "out", "out", "`directory` for the binaries, logs and results")
	flag.IntVar(&s.serverCPU, "server-cpu", 0, "index of the CPU of the server among those allowed; -1: pin nothing")
	flag.IntVar(&s.loadCPU, "load-cpu", 1, "index of the CPU of the load")
	flag.IntVar(&s.plan.Rounds, "rounds", 5, "quiet rounds wanted for each cell")
	flag.Float64Var(&s.plan.Foreign, "foreign", 0.15, "share of a CPU used by others above which a run is repeated")
	flag.DurationVar(&s.warmup, "warmup", 500*time.Millisecond, "time before the window of each run")
	flag.DurationVar(&s.window, "window", 3*time.Second, "measured time of each run")
	flag.DurationVar(&s.plan.Limit, "limit", 0, "time after which rounds are saved, so that each cell has one at least; 0: none")
	flag.Parse()
	set := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if s.restart && !set["limit"] {
		s.plan.Limit = restartLimit
	}
	if !set["base"] {
		s.base = s.yardstick()
	}
	if s.curve && !set["peers"] {
		s.peers = "c-epoll,evloop,evloop-uring"
	}
	if s.quick {
		if !set["window"] {
			s.window, s.warmup = time.Second, 200*time.Millisecond
		}
		if !set["peers"] && s.kind == "" {
			s.peers = "c-epoll,evloop,go-net"
		}
		if !set["limit"] {
			s.plan.Limit = quickLimit
		}
	}
	s.custom = flag.Args()
	return s
}

func run(ctx context.Context, s settings, out, log io.Writer) error {
	cells, err := s.chosen()
	if err != nil {
		return err
	}
	b := &bench{plan: s.plan, log: log}
	if b.rig, err = rig(s); err != nil {
		return err
	}
	if b.peers, err = peers(s, cells, log); err != nil {
		return err
	}
	m := machine(b.rig)
	file, err := os.Create(filepath.Join(s.out, "results-"+m.Time.Format("20060102-150405")+".jsonl"))
	if err != nil {
		return fmt.Errorf("open results: %w", err)
	}
	defer file.Close()
	b.results = newJournal(file)
	if err := b.results.write(m); err != nil {
		return err
	}
	printMachine(out, m)
	verdicts, err := b.runCells(ctx, cells, s.base, out)
	if err != nil {
		return err
	}
	printVerdicts(out, verdicts)
	fmt.Fprintf(out, "\nEvery run: %s\n", file.Name())
	return nil
}

// chosen returns the cells to run.
func (s settings) chosen() ([]Cell, error) {
	cells := full()
	switch {
	case s.kind != "":
		cells = kindCells(s.kind, s.quick)
	case s.restart:
		cells = restarts()
	case s.curve:
		cells = curves()
	case s.quick:
		cells = quick()
	case s.cells != "":
		cells = append(cells, asked()...)
	}
	if len(cells) == 0 {
		return nil, fmt.Errorf("there are no cells for kind %q", s.kind)
	}
	return choose(cells, s.cells)
}

// runCells measures one cell after the other and prints each when it is done.
func (b *bench) runCells(ctx context.Context, cells []Cell, base string, out io.Writer) ([]verdict, error) {
	end := time.Now().Add(b.plan.Limit)
	var verdicts []verdict
	for i, c := range cells {
		var until time.Time
		if b.plan.Limit > 0 { // the time that one cell saves is for the cells that follow
			until = time.Now().Add(time.Until(end) / time.Duration(len(cells)-i))
		}
		records, err := b.runCell(ctx, c, until)
		order, title := names(b.peers, base), rounds(records)
		lines := summarize(records, order)
		verdicts = append(verdicts, judge(c, lines)...)
		if calm := calmest(records, lines); calm != nil {
			lines, title = summarize(calm, order), title+"; shown are the least disturbed, which prove nothing"
		}
		if perr := printCell(out, c, title, lines); err != nil || perr != nil {
			return verdicts, errors.Join(err, perr)
		}
	}
	return verdicts, nil
}

// rig chooses the CPUs. With a single one there is nothing to separate.
func rig(s settings) (Rig, error) {
	cpus, err := sample.CPUs()
	if err != nil {
		return Rig{}, err
	}
	dir, err := filepath.Abs(s.out)
	if err != nil {
		return Rig{}, fmt.Errorf("output directory: %w", err)
	}
	g := Rig{Dir: dir, ServerCPU: -1, LoadCPU: -1, Warmup: s.warmup, Window: s.window}
	if s.serverCPU >= 0 && len(cpus) > 1 {
		g.ServerCPU = cpus[s.serverCPU%len(cpus)]
		g.LoadCPU = cpus[s.loadCPU%len(cpus)]
	}
	return g, nil
}

func peers(s settings, cells []Cell, log io.Writer) ([]Peer, error) {
	if s.restart {
		return restartPeers(s, log)
	}
	var wanted []string
	if s.peers != "" {
		wanted = strings.Split(s.peers, ",")
	}
	peers, err := build(s.out, wanted, s.serverCPU >= 0, cells, log)
	if err != nil {
		return nil, err
	}
	peers = append(peers, installed(wanted, cells, log)...)
	if s.penstock != "" {
		p, err := daemon(s.penstock)
		if err != nil {
			return nil, err
		}
		peers = append(peers, p)
	}
	for _, arg := range s.custom {
		p, err := custom(arg)
		if err != nil {
			return nil, err
		}
		peers = append(peers, p)
	}
	return peers, nil
}
