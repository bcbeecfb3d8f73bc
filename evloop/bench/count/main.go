// SPDX-License-Identifier: Apache-2.0

// Command count counts the instructions that evloop and the plain C loop run in user
// space for an echo, on emulated CPUs, and fails when evloop's are more than recorded.
//
//	go run ./count [-profile] [CPU ...]
//	go run ./count -record
//
// A time that is measured under an emulator says nothing about a board. A count does, and
// is the same on each machine, busy or not. The difference of two whole runs, of few and of
// many echoes, would have the noise of two starts in it.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// yardstick is the C loop, loop is evloop.
const (
	yardstick = "c-epoll"
	loop      = "evloop"
)

const (
	size  = 64 // bytes of an echo
	grace = 30 * time.Second
)

// A load is what a server is counted with. The lowest of its windows counts, because what
// disturbs one adds to it: the runtime's monitor, a signal, a turn that came too early.
type load struct {
	conns   int
	asleep  bool // evloop asks for events in vain and sleeps before each message; C always asks once
	warmup  int  // echoes, after which each path has been translated
	echoes  int  // of a window
	windows int
}

var loads = []load{
	{conns: 64, warmup: 20 * 64, echoes: 20 * 64, windows: 5},
	{conns: 1, warmup: 500, echoes: 200, windows: 5},
	{conns: 1, asleep: true, warmup: 500, echoes: 200, windows: 5},
}

func (l load) String() string {
	if l.asleep {
		return fmt.Sprintf("%d, asleep", l.conns)
	}
	return fmt.Sprint(l.conns)
}

func main() {
	profile := flag.Bool("profile", false, "write the functions of an echo as well")
	record := flag.Bool("record", false, "write the counts into "+recordPath+" instead of comparing them")
	flag.Parse()
	if err := run(os.Stdout, flag.Args(), *profile, *record); err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, names []string, profile, record bool) error {
	detail := io.Discard
	if profile {
		detail = w
	}
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	lines, err := countAll(w, chosen, detail)
	switch {
	case err != nil:
		return err
	case len(lines) > 0:
		show(w, lines)
	}
	if record {
		return writeRecord(recordPath, lines)
	}
	return compare(recordPath, lines)
}

// choose returns the CPUs of these names, in the order of the table; no name means all.
func choose(names []string) ([]cpu, error) {
	if len(names) == 0 {
		return cpus, nil
	}
	for _, name := range names {
		if !slices.ContainsFunc(cpus, func(c cpu) bool { return c.name == name }) {
			return nil, fmt.Errorf("no CPU is called %q", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(cpus), func(c cpu) bool { return !slices.Contains(names, c.name) }), nil
}

// countAll counts on the CPUs, and says which it has skipped.
func countAll(w io.Writer, chosen []cpu, detail io.Writer) ([]line, error) {
	dir, err := os.MkdirTemp("", "count-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	plugin, err := buildPlugin(dir)
	if err != nil {
		return nil, err
	}
	var lines []line
	for _, c := range chosen {
		why, err := c.skipped(dir, plugin)
		var l []line
		if err == nil && why == "" {
			l, err = c.measure(dir, plugin, detail)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		if why != "" {
			fmt.Fprintf(w, "skip %s: %s\n", c.name, why)
		}
		lines = append(lines, l...)
	}
	return lines, nil
}

// A line is a row of the table.
type line struct {
	cpu   string
	load  load
	c, ev figure
}

// measure counts both servers on the CPU.
func (c cpu) measure(dir, plugin string, detail io.Writer) ([]line, error) {
	figures := map[string][]figure{}
	for _, name := range []string{yardstick, loop} {
		bin, err := c.build(dir, name)
		if err != nil {
			return nil, err
		}
		for _, l := range loads {
			l.asleep = l.asleep && name == loop
			fmt.Fprintf(detail, "\n%s %s, connections: %v\n", c.name, name, l)
			f, err := c.count(bin, plugin, filepath.Join(dir, "counts"), l, detail)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			figures[name] = append(figures[name], f)
		}
	}
	var lines []line
	for i, l := range loads {
		lines = append(lines, line{c.name, l, figures[yardstick][i], figures[loop][i]})
	}
	return lines, nil
}

func show(w io.Writer, lines []line) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "CPU\tconnections\tC\tcalls\tevloop\tcalls\tevloop, of C\t")
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%v\t%v\t%.2f\t%v\t%.2f\t%.1f\t\n", l.cpu, l.load, l.c, l.c.calls, l.ev, l.ev.calls, l.ev.insns/l.c.insns)
	}
	t.Flush() //nolint:errcheck // a table that cannot be written shows by itself
}
