// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/evloop/bench/load"
	"penstock/evloop/bench/sample"
)

// TestMain lets the test binary be the load process that a Rig starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "load" {
		exit(loadMain(os.Args[2]))
	}
	os.Exit(m.Run())
}

// TestRun goes the whole way once: build, start, load, record, print.
func TestRun(t *testing.T) {
	s := settings{
		cells: "echo tcp 64 64B x1,echo unix 1 4096B x16,ask tcp 64 x1,room tcp 10 64B x1,churn.*,idle tcp 8000",
		peers: "evloop,go-net", base: "go-net", out: t.TempDir(),
		plan: Plan{Rounds: 1, Foreign: 1e9}, warmup: 10 * time.Millisecond, window: 50 * time.Millisecond,
	}
	var out, log strings.Builder
	if err := run(t.Context(), s, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if log.Len() > 0 {
		t.Errorf("complaints: %s", log.String())
	}
	for _, want := range []string{"echo tcp 64 64B x1: 2 quiet runs", "room tcp 10", "B/conn open", "  go-net  1", "  evloop  1"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	files, err := filepath.Glob(filepath.Join(s.out, "results-*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatalf("results: %v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	// The machine, then two servers in five cells and one in the room.
	if got, want := bytes.Count(text, []byte("\n")), 1+2*5+1; got != want {
		t.Errorf("%d lines of results, want %d", got, want)
	}
}

// TestEveryGoPeer: each Go server of this folder does what it is compared in, or its
// figures would be of another work. The load checks every byte.
func TestEveryGoPeer(t *testing.T) {
	const others = "go-net,netpoll,gnet,nbio,evio"
	s := settings{
		cells: "echo tcp 64 64B x1,echo tcp 64 4096B x16,echo unix 64 64B x1,ask tcp 64 x1",
		peers: others, base: "go-net", out: t.TempDir(),
		plan: Plan{Rounds: 1, Foreign: 1e9}, warmup: 10 * time.Millisecond, window: 20 * time.Millisecond,
	}
	var out, log strings.Builder
	if err := run(t.Context(), s, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if log.Len() > 0 {
		t.Errorf("complaints: %s", log.String())
	}
	for name := range strings.SplitSeq(others, ",") {
		if got := strings.Count(out.String(), "  "+name+"  1 "); got != 4 {
			t.Errorf("%s ran in %d cells, want 4, in\n%s", name, got, out.String())
		}
	}
}

// TestPeerThatFails: a server that ends or answers nonsense is named, and the
// others go on.
func TestPeerThatFails(t *testing.T) {
	s := settings{
		cells: "echo tcp 64 64B x1", peers: "go-net", base: "go-net", out: t.TempDir(),
		plan: Plan{Rounds: 2, Foreign: 1e9}, window: 20 * time.Millisecond,
		custom: []string{"absent=/nonexistent/server {address}", "quits=/bin/false {mode}"},
	}
	var out, log strings.Builder
	if err := run(t.Context(), s, &out, &log); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"absent", "quits"} {
		if got := strings.Count(log.String(), ": "+name+": "); got != 1 {
			t.Errorf("%s is named %d times, want once, in\n%s", name, got, log.String())
		}
	}
	if !strings.Contains(out.String(), "go-net  2") {
		t.Errorf("the healthy server has not run twice:\n%s", out.String())
	}
}

// TestLimit: where every run is disturbed, repeating them all ends with the
// time, and not before each server has run in each cell.
func TestLimit(t *testing.T) {
	s := settings{
		cells: "echo (tcp|unix) 1000 64B x1", peers: "evloop,go-net", base: "go-net", out: t.TempDir(),
		plan: Plan{Rounds: 5, Foreign: -1, Limit: time.Nanosecond}, window: 20 * time.Millisecond,
	}
	var out, log strings.Builder
	if err := run(t.Context(), s, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	for _, want := range []string{"0 quiet runs; 2 disturbed", "shown are the least disturbed", "  go-net  1 ", "  evloop  1 "} {
		if got := strings.Count(out.String(), want); got != 2 {
			t.Errorf("%d times %q, want it in 2 cells, in\n%s", got, want, out.String())
		}
	}
	if strings.Contains(out.String(), "Goals:") {
		t.Errorf("disturbed runs were judged:\n%s", out.String())
	}
}

func TestCalmest(t *testing.T) {
	run := func(peer string, round int, foreign float64) Record {
		return Record{Peer: peer, Round: round, Result: load.Result{Foreign: foreign}}
	}
	quiet := func(r Record) Record { r.Quiet = true; return r }
	calm := func(records ...Record) []Record {
		return calmest(records, summarize(records, []string{"broken", "c", "go"}))
	}
	broken := Record{Peer: "broken", Error: "ended early"}
	got := calm(broken, run("c", 0, 0.5), run("c", 0, 0.3), run("go", 0, 0.4), run("c", 1, 0.6), quiet(run("go", 1, 0)))
	want := []Record{broken, quiet(run("c", 0, 0.3)), quiet(run("go", 0, 0.4)), quiet(run("c", 1, 0.6)), quiet(run("go", 1, 0))}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := calm(quiet(run("c", 0, 0)), run("go", 0, 0.4)); len(got) != 2 {
		t.Errorf("only the base is quiet, yet %v", got)
	}
	if got := calm(run("c", 0, 0.5), quiet(run("c", 0, 0.1)), quiet(run("go", 0, 0)), run("go", 1, 0.4), broken); got != nil {
		t.Errorf("all have a quiet run, yet %v", got)
	}
	if got := calm(broken); got != nil {
		t.Errorf("nobody runs, yet %v", got)
	}
}

func result(ops uint64, cpu time.Duration) load.Result {
	return load.Result{Ops: ops, Elapsed: time.Second, Server: sample.Usage{CPU: cpu}}
}

func TestSummarize(t *testing.T) {
	records := []Record{
		{Peer: "c", Round: 0, Quiet: true, Result: result(100, time.Second)},
		{Peer: "go", Round: 0, Quiet: true, Result: result(90, time.Second)},
		{Peer: "go", Round: 1, Quiet: true, Result: result(100, time.Second)},
		{Peer: "c", Round: 1, Quiet: false, Result: result(1, time.Second)}, // disturbed
		{Peer: "c", Round: 1, Attempt: 1, Quiet: true, Result: result(200, time.Second)},
		{Peer: "c", Round: 2, Quiet: true, Result: result(100, time.Second)},
		{Peer: "go", Round: 2, Quiet: true, Result: result(80, time.Second)},
		{Peer: "go", Round: 3, Quiet: true, Result: result(999, time.Second)}, // the base has no such round
		{Peer: "bad", Round: 0, Error: "ended early"},
	}
	lines := summarize(records, []string{"c", "go", "bad", "absent"})
	var got []string
	for _, l := range lines {
		got = append(got, l.Peer)
	}
	if want := []string{"c", "go", "bad"}; !slices.Equal(got, want) {
		t.Fatalf("lines of %v, want %v", got, want)
	}
	if want := (Spread{1, 1, 1}); lines[0].OpsRatio != want {
		t.Errorf("the base to itself: %v, want %v", lines[0].OpsRatio, want)
	}
	if want := (Spread{0.8, 0.5, 0.9}); lines[1].OpsRatio != want {
		t.Errorf("ratio of ops: %v, want %v", lines[1].OpsRatio, want)
	}
	if lines[1].Rounds != 3 {
		t.Errorf("%d rounds, want the 3 in which both were quiet", lines[1].Rounds)
	}
	if lines[2].Error != "ended early" {
		t.Errorf("error %q is lost", lines[2].Error)
	}
}

func TestSpread(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   Spread
	}{
		{"none", nil, Spread{}},
		{"one", []float64{2}, Spread{2, 2, 2}},
		{"odd", []float64{3, 1, 2}, Spread{2, 1, 3}},
		{"even", []float64{4, 1, 2, 3}, Spread{2.5, 1, 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, spread(tt.values)); diff != "" {
				t.Errorf("spread(%v): %s", tt.values, diff)
			}
		})
	}
}

func TestUndisturbed(t *testing.T) {
	tests := []struct {
		name    string
		records []Record
		want    bool
	}{
		{"all quiet", []Record{{Peer: "a", Quiet: true}, {Peer: "b", Quiet: true}}, true},
		{"quiet when repeated", []Record{{Peer: "a"}, {Peer: "a", Quiet: true}}, true},
		{"never quiet", []Record{{Peer: "a"}, {Peer: "a"}, {Peer: "b", Quiet: true}}, false},
		{"a failure is no noise", []Record{{Peer: "a", Error: "x"}, {Peer: "b", Quiet: true}}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := undisturbed(tt.records); got != tt.want {
				t.Errorf("undisturbed = %v, want %v", got, tt.want)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	got, err := choose(full(), "echo tcp (64|1000) 64B x1,churn.*")
	if err != nil || len(got) != 3 {
		t.Errorf("choose = %v, %v, want 3 cells", got, err)
	}
	if _, err := choose(full(), "echo"); err == nil {
		t.Error("a pattern that matches no whole name is no error")
	}
	if got, err := choose(append(full(), asked()...), "echo (tcp|unix) (1|64|1000|8000) (64|4096)B x(1|16)"); err != nil || len(got) != 2*4*2*2 {
		t.Errorf("%d cells of echo, %v, want every combination", len(got), err)
	}
	seen := map[string]bool{}
	all := append(full(), asked()...)
	for _, kind := range []string{"proxy", "bridge"} { // those of exec are in full too
		all = append(all, kindCells(kind, false)...)
	}
	for _, c := range all {
		if seen[c.String()] {
			t.Errorf("two cells are called %q", c)
		}
		seen[c.String()] = true
	}
}

func TestCustom(t *testing.T) {
	p, err := custom("gnet=./server -m {mode} -a {network}://{address}")
	if err != nil {
		t.Fatal(err)
	}
	want := Peer{Name: "gnet", Command: []string{"./server", "-m", "{mode}", "-a", "{network}://{address}"}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"gnet", "=server", "gnet=", ""} {
		if _, err := custom(bad); err == nil {
			t.Errorf("custom(%q) is no error", bad)
		}
	}
}

// TestJournalReportsAFullDisk: results that are not written must not pass for
// a run.
func TestJournalReportsAFullDisk(t *testing.T) {
	errFull := errors.New("no space")
	r, w := io.Pipe()
	r.CloseWithError(errFull)
	if err := newJournal(w).write(Record{}); !errors.Is(err, errFull) {
		t.Errorf("write = %v, want %v", err, errFull)
	}
}

// TestFigure: the figure names every server and cell, also of a run that was
// interrupted in the middle of a line.
func TestFigure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.jsonl")
	var text bytes.Buffer
	j := newJournal(&text)
	cell := Cell{Mode: load.Echo, Network: "tcp", Conns: 64, Size: 64, Pipeline: 1}
	for _, v := range []any{
		Machine{Kernel: "6.1.0"},
		Record{Cell: cell, Peer: "go-net", Quiet: true, Result: result(100, 2*time.Second)},
		Record{Cell: cell, Peer: yardstick, Quiet: true, Result: result(100, time.Second)},
		Record{Cell: Cell{Mode: load.Idle}, Peer: yardstick, Quiet: true},
	} {
		if err := j.write(v); err != nil {
			t.Fatal(err)
		}
	}
	text.WriteString(`{"cell":{"mo`)
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var svg strings.Builder
	if err := figureMain(path, yardstick, &svg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"</svg>", "go-net", yardstick + " = 1", "echo tcp", "64 64B x1", "6.1.0"} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("no %q in the figure", want)
		}
	}
}

// TestCurve: each server has a line for echo and one for the room, in microseconds.
func TestCurve(t *testing.T) {
	var groups []group
	for _, c := range curves() {
		groups = append(groups, group{c, []Record{
			{Cell: c, Peer: yardstick, Quiet: true, Result: result(1000, time.Duration(c.Conns)*time.Microsecond)},
			{Cell: c, Peer: "evloop", Quiet: true, Result: result(1000, time.Second)},
		}})
	}
	order := []string{yardstick, "evloop"}
	if got := curve(groups, order, yardstick, load.Room); len(got) != 5 || got[4].X != 10000 || got[4].Y != 10 {
		t.Errorf("the room costs %v, want 10 us with 10000", got)
	}
	var svg strings.Builder
	if err := drawCurve(Machine{Kernel: "6.1.0"}, groups, &svg); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"</svg>", "evloop, room", yardstick + ", echo", "10000", "6.1.0"} {
		if !strings.Contains(svg.String(), want) {
			t.Errorf("no %q in the figure", want)
		}
	}
	if err := drawCurve(Machine{}, nil, io.Discard); err == nil {
		t.Error("a figure of nothing is no error")
	}
}

// TestJudge: a goal is judged by the right cells, in the right direction, and
// not at all without the server that it compares with.
func TestJudge(t *testing.T) {
	cell := Cell{Mode: load.Echo, Network: "tcp", Conns: 64, Size: 64, Pipeline: 1}
	one := Spread{1, 1, 1}
	lines := []Line{
		{Peer: yardstick, Rounds: 5, OpsRatio: one, CPURatio: one},
		{Peer: "evloop", Rounds: 5, OpsRatio: Spread{0.9, 0.9, 0.9}, CPURatio: Spread{1, 0.99, 1.1}},
	}
	met := map[string]bool{}
	for _, v := range judge(cell, lines) {
		met[v.what] = v.met()
	}
	want := map[string]bool{opsName: false, cpuName: true, "switches/op, difference": true}
	if diff := cmp.Diff(want, met); diff != "" {
		t.Error(diff)
	}
	if got := judge(cell, lines[1:]); len(got) != 0 {
		t.Errorf("%d verdicts without the yardstick, want none", len(got))
	}
	cells := append(full(), restarts()...)
	for kind := range kindYardsticks {
		cells = append(cells, kindCells(kind, false)...)
	}
	for _, g := range goals {
		if kept, err := choose(cells, g.cells); err != nil || len(kept) == 0 {
			t.Errorf("no cell is judged by %q: %v", g.cells, err)
		}
	}
}
