// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// recordPath is the file of counts that are compared with.
const recordPath = "count/recorded"

// margin is how much more than recorded evloop may take: another version of Go may
// compile it a little otherwise.
const margin = 1.10

const recordHead = `# Instructions in user space for an echo of 64 bytes. evloop may take a tenth more than is
# said here (make cross-count). After a change that is worth more, and after one
# that saves some: cd evloop/bench && go run ./count -record
#
# CPU	connections	C	evloop
`

// A cell is a CPU and a load, as the table has them.
type cell struct{ cpu, load string }

// writeRecord replaces the file as a whole, at once: an interrupt leaves the old one. The
// lines are those of all CPUs.
func writeRecord(path string, lines []line) error {
	if len(lines) != len(cpus)*len(loads) {
		return errors.New("write record: not all CPUs were counted")
	}
	var b strings.Builder
	b.WriteString(recordHead)
	for _, l := range lines {
		fmt.Fprintf(&b, "%s\t%v\t%.0f\t%.0f\n", l.cpu, l.load, l.c.insns, l.ev.insns)
	}
	next := path + ".new"
	err := os.WriteFile(next, []byte(b.String()), 0o644)
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		os.Remove(next)
		return fmt.Errorf("write record: %w", err)
	}
	return nil
}

// readRecord returns evloop's counts. Those of C are there for the reader.
func readRecord(path string) (map[cell]float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read record: %w", err)
	}
	recorded := map[cell]float64{}
	for row := range strings.Lines(string(text)) {
		if strings.HasPrefix(row, "#") {
			continue
		}
		words := strings.Split(strings.TrimSpace(row), "\t")
		if len(words) != 4 {
			return nil, fmt.Errorf("read record: %q has not four columns", row)
		}
		if recorded[cell{words[0], words[1]}], err = strconv.ParseFloat(words[3], 64); err != nil {
			return nil, fmt.Errorf("read record: %w", err)
		}
	}
	return recorded, nil
}

// compare fails when a count is above its record, or has none.
func compare(path string, lines []line) error {
	recorded, err := readRecord(path)
	if err != nil {
		return err
	}
	var above []error
	for _, l := range lines {
		was, ok := recorded[cell{l.cpu, l.load.String()}]
		switch {
		case !ok:
			above = append(above, fmt.Errorf("%s, connections %v: nothing is recorded", l.cpu, l.load))
		case l.ev.insns > margin*was:
			above = append(above, fmt.Errorf("%s, connections %v: evloop takes %.0f instructions for an echo, recorded are %.0f",
				l.cpu, l.load, l.ev.insns, was))
		}
	}
	return errors.Join(above...)
}
