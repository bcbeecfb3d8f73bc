// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/unit"
)

// generatorName is the name by which systemd calls this program when it is to
// write units. A second program would be another two megabytes on the board
// for the same parser.
const generatorName = "penstock-generator"

const aboutGenerator = `usage: penstock-generator NORMAL EARLY LATE

Writes units for ` + defaultConfig + ` into the folder NORMAL.
systemd runs it at boot and at each daemon-reload, see systemd.generator(7).
To see what it would write: penstock units
`

// generate is the command under generatorName. Mistakes in the configuration
// are no failure of it: it writes what was applied last, or at boot what can be
// written, and a unit that tells of the rest. Status 1 means that a file could not be written; systemd logs that
// and uses the others, so that a boot never hangs on it.
func generate(p process, args []string) int {
	if len(args) != 3 {
		fmt.Fprint(p.stderr, aboutGenerator)
		return exitUsage
	}
	// More than the largest files that are read need. Without it the collector
	// would let garbage grow on a board where much memory is free at boot.
	debug.SetMemoryLimit(generatorMemory)
	files, _, err := p.unitsOf(p.path(defaultConfig))
	err = errors.Join(err, unit.Write(args[0], files), unit.Seed(p.path(unit.AppliedFolder), files))
	if err != nil {
		fmt.Fprintln(p.stderr, generatorName+":", err)
		return exitFailed
	}
	return exitOK
}

const (
	generatorMemory = 64 << 20
	// generatorPatience is a long time for a card that is slow, and a short one
	// for PID 1, which answers nobody until its generators have ended.
	generatorPatience = 10 * time.Second
)

// unitsOf returns the units that systemd is to have for the file at source, and
// its mistakes. With mistakes in the file that the service reads these are the
// ones that were applied.
func (p process) unitsOf(source string) (files []unit.File, mistakes, err error) {
	ours := source == p.path(defaultConfig)
	cfg, mistakes := inTime(generatorPatience, func() (*config.Config, error) {
		return config.Loader{Sockets: true, Pipe: !ours}.Load(source)
	})
	files, err = unit.Generate(source, cfg, mistakes, unit.Overrides(p.root))
	if mistakes == nil || !ours {
		return files, mistakes, err
	}
	applied, readErr := unit.Read(p.path(unit.AppliedFolder))
	return unit.Keep(applied, files), mistakes, errors.Join(err, readErr)
}

// inTime returns what load does, or an error when it panics or takes longer
// than patience. That is as a mistake to the caller: a generator that ends
// without writing anything takes down every port at the next daemon-reload.
func inTime(patience time.Duration, load func() (*config.Config, error)) (*config.Config, error) {
	type result struct {
		cfg *config.Config
		err error
	}
	done := make(chan result, 1) // for one that nobody waits for any more
	go func() {
		var r result
		defer func() {
			if v := recover(); v != nil {
				r = result{err: fmt.Errorf("load configuration: panic: %v", v)}
			}
			done <- r
		}()
		r.cfg, r.err = load()
	}()
	select {
	case r := <-done:
		return r.cfg, r.err
	case <-time.After(patience):
		return nil, fmt.Errorf("load configuration: it takes longer than %v", patience)
	}
}
