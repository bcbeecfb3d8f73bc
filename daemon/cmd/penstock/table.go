// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/view"
)

// How the commands print what they were told: tables that fit a terminal of 80 columns,
// and units that people read.

// tableWidth is the width of the narrowest terminal that is usual.
const tableWidth = 80

// A column of a table.
type column struct {
	head  string
	right bool // numbers stand below each other
	gives int  // it may be cut down to so many columns; 0: it is never cut
}

// A table is printed when all its rows are known, since they give the widths.
type table struct {
	columns []column
	rows    [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write prints the table for a terminal of the usual width.
func (t *table) write(w io.Writer) {
	for _, line := range t.lines(tableWidth) {
		fmt.Fprintln(w, line)
	}
}

// lines returns the lines of the table, without heads if no column has one. Cells are cut,
// with an ellipsis, where the table would be wider than width.
func (t *table) lines(width int) []string {
	rows := t.rows
	if slices.ContainsFunc(t.columns, func(c column) bool { return c.head != "" }) {
		var heads []string
		for _, c := range t.columns {
			heads = append(heads, c.head)
		}
		rows = append([][]string{heads}, rows...)
	}
	widths := t.widths(rows, width)
	lines := make([]string, 0, len(rows))
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			cell = cut(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.columns[i].right {
				cell, pad = pad, cell
			}
			line.WriteString(cell + pad)
		}
		lines = append(lines, strings.TrimRight(line.String(), " "))
	}
	return lines
}

// widths returns the width of each column, for a table of the given width. The widest of those that give way does so
// first.
func (t *table) widths(rows [][]string, width int) []int {
	widths := make([]int, len(t.columns))
	total := -2
	for i := range t.columns {
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		total += widths[i] + 2
	}
	for ; total > width; total-- {
		widest := -1
		for i, c := range t.columns {
			if c.gives > 0 && widths[i] > c.gives && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

// cut shortens a text to so many columns.
func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	runes := []rune(s)
	return string(runes[:width-1]) + "…"
}

// bytesText writes a number of bytes, see [view.BytesText].
func bytesText[T int | int64 | uint64](n T) string { return view.BytesText(uint64(n)) }

// timeText writes a time, see [view.TimeText].
func timeText(d time.Duration) string { return view.TimeText(d) }

// printJSON prints one value on a line of its own.
func (p process) printJSON(v any) error { return json.NewEncoder(p.stdout).Encode(v) }

// warning returns text in red on a terminal that shows colours.
func (p process) warning(text string) string {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || !p.onTerminal() {
		return text
	}
	return "\x1b[31m" + text + "\x1b[0m"
}

// onTerminal reports whether a person reads the output.
func (p process) onTerminal() bool {
	w := p.stdout
	if o, ok := w.(*output); ok {
		w = o.Writer
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
