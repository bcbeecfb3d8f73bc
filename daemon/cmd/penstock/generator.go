// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

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
	source := p.path(defaultConfig)
	files, _, err := p.unitsOf(source)
	err = errors.Join(err, unit.Write(args[0], files), unit.Seed(p.path(unit.AppliedFolder), files))
	if err != nil {
		fmt.Fprintln(p.stderr, generatorName+":", err)
		return exitFailed
	}
	return exitOK
}

// unitsOf returns the units that systemd is to have for the file at source, and
// its mistakes. With mistakes in the file that the service reads these are the
// ones that were applied.
func (p process) unitsOf(source string) (files []unit.File, mistakes, err error) {
	cfg, mistakes := config.Load(source)
	files, err = unit.Generate(source, cfg, mistakes, unit.Overrides(p.root))
	if mistakes == nil || source != p.path(defaultConfig) {
		return files, mistakes, err
	}
	applied, readErr := unit.Read(p.path(unit.AppliedFolder))
	return unit.Keep(applied, files), mistakes, errors.Join(err, readErr)
}
