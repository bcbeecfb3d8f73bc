// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

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

// generate is the command under generatorName. It does not fail because of mistakes in
// the configuration. It then writes the units that were applied last, in this boot or
// before it, or else those of the services without a mistake, and a unit that reports
// the mistakes. Status 1 means that a file could not be written. systemd logs that and
// uses the other files, so a boot never hangs on it.
//
// The applied units are written before the configuration is read, so the manager finds
// them even if the reading crashes. The alternative was to read in a process of its
// own; that is as safe, but costs one more process at each daemon-reload.
func generate(p process, args []string) int {
	if len(args) != 3 {
		fmt.Fprint(p.stderr, aboutGenerator)
		return exitUsage
	}
	boundGenerator()
	if err := p.generate(args[0], p.path(defaultConfig)); err != nil {
		fmt.Fprintln(p.stderr, generatorName+":", err)
		return exitFailed
	}
	return exitOK
}

// errUnread stands for a mistake that is not known yet; the report finds it.
var errUnread = errors.New("not read to the end")

func (p process) generate(folder, source string) error {
	applied, readErr := unit.Applied(p.root)
	report, reportErr := unit.Generate(source, nil, errUnread, nil)
	first := unit.Keep(applied, report)
	firstErr := unit.Write(folder, first)
	files, _, err := p.unitsOf(source)
	err = errors.Join(readErr, reportErr, firstErr, err,
		unit.Remove(folder, first, files), unit.Write(folder, files), unit.Seed(p.path(unit.AppliedFolder), files))
	keeper, keeperErr := unit.KeepLasting(p.root)
	return errors.Join(err, keeperErr, unit.Write(folder, keeper))
}

const (
	generatorMemory = 64 << 20
	// generatorPatience is long enough for a slow card, and short because PID 1
	// answers nobody until its generators have ended.
	generatorPatience = 10 * time.Second

	generatorStack = 32 << 20
	// generatorData bounds address space (RLIMIT_DATA, setrlimit(2)), which the
	// heap reserves in pieces of 64 MiB on machines of 64 bits, used or not.
	generatorData = 512 << 20
)

// boundGenerator keeps the process small, and has it ended if it takes too much memory.
func boundGenerator() {
	// This is more than the largest allowed files need. Without the limit the collector
	// would let garbage grow.
	debug.SetMemoryLimit(generatorMemory)
	debug.SetMaxStack(generatorStack)
	// An error means that a lower limit is in force already.
	_ = unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: generatorData, Max: generatorData})
	seconds := uint64(2 * generatorPatience / time.Second)
	_ = unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds})
}

// unitsOf returns the units for the file at source, and its mistakes. If the file that
// the service reads has mistakes, these are the units that were applied. Files that
// services name, such as a table of answers, are not read: no socket depends on them,
// and at boot they may be on a file system that is not mounted yet.
func (p process) unitsOf(source string) (files []unit.File, mistakes, err error) {
	ours := source == p.path(defaultConfig)
	cfg, mistakes := inTime(generatorPatience, func() (*config.Config, error) {
		return config.Loader{Sockets: true, Pipe: !ours}.Load(source)
	})
	files, err = unit.Generate(source, cfg, mistakes, unit.Look(p.root))
	if mistakes == nil || !ours {
		return files, mistakes, err
	}
	applied, readErr := unit.Applied(p.root)
	return unit.Keep(applied, files), mistakes, errors.Join(err, readErr)
}

// inTime returns the result of load, or an error if load panics or takes longer than
// patience. The caller treats that error as a mistake in the file: a generator that
// ended without writing anything would take down every port at the next daemon-reload.
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
