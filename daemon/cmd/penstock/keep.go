// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"penstock/daemon/internal/apply"
	"penstock/daemon/internal/unit"
)

// keepUnits is the command that the generated unit.Keeper runs, once a boot, and only
// if the units in force differ from those that are kept for the next boot.
func keepUnits(p process, _ command, _ []string) int {
	release, err := apply.Lock(p.root, p.stdout)
	if err == nil {
		defer release()
		err = unit.MakeLast(p.root)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "penstock keep-units:", err)
		return exitFailed
	}
	return exitOK
}
