// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"

	"penstock/daemon/internal/unit"
)

const aboutUnits = `Prints the units that penstock-generator would write for FILE (default
` + defaultConfig + `) and conf.d/*.toml beside it, each below its
name. Nothing is written. Exit status 78 when there is a mistake; the units that
are printed then are those that were applied last, or of the services without one.
`

func units(p process, c command, args []string) int {
	flags := c.flags()
	file := flags.String(fileOption.letter, p.path(defaultConfig), "")
	if status, ok := p.parse(c, flags, args); !ok {
		return status
	}
	source, err := filepath.Abs(*file)
	if err != nil {
		fmt.Fprintln(p.stderr, "penstock units:", err)
		return exitFailed
	}
	files, mistakes, err := p.unitsOf(source)
	for i, f := range files {
		if i > 0 {
			fmt.Fprintln(p.stdout)
		}
		fmt.Fprintf(p.stdout, "# %s\n%s", filepath.Join(unit.GeneratorFolder, f.Name), f.Text)
	}
	if mistakes != nil {
		fmt.Fprintln(p.stderr, mistakes)
		return exitConfig
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "penstock units:", err)
		return exitFailed
	}
	return exitOK
}
