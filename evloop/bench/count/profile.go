// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
)

// profile writes which functions of the program have run how many instructions for an
// echo since before. A block belongs to the function that it begins in.
func (c *counts) profile(w io.Writer, program string, before []uint64, echoes int) error {
	names, err := symbols(program)
	if err != nil {
		return err
	}
	sums := map[string]uint64{}
	for i, runs := range c.runs() {
		if runs > before[i] {
			sums[names.at(c.blocks[i].address)] += (runs - before[i]) * c.blocks[i].insns
		}
	}
	sorted := slices.SortedFunc(maps.Keys(sums), func(a, b string) int { return -cmp.Compare(sums[a], sums[b]) })
	for _, name := range sorted {
		if n := float64(sums[name]) / float64(echoes); n >= 0.5 {
			fmt.Fprintf(w, "%9.1f  %s\n", n, name)
		}
	}
	return nil
}

// A symbolTable is sorted by address.
type symbolTable []elf.Symbol

func symbols(program string) (symbolTable, error) {
	f, err := elf.Open(program)
	if err != nil {
		return nil, fmt.Errorf("read symbols: %w", err)
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("read symbols of %s: %w", program, err)
	}
	funcs := slices.DeleteFunc(all, func(s elf.Symbol) bool { return elf.ST_TYPE(s.Info) != elf.STT_FUNC })
	for i := range funcs {
		if f.Machine == elf.EM_ARM {
			funcs[i].Value &^= 1 // Thumb
		}
	}
	slices.SortStableFunc(funcs, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	return funcs, nil
}

func (t symbolTable) at(address uint64) string {
	i := sort.Search(len(t), func(i int) bool { return t[i].Value > address })
	if i == 0 || address >= t[i-1].Value+max(t[i-1].Size, 1) {
		return "?" // on ARM, mostly helpers that the kernel has mapped
	}
	return t[i-1].Name
}
