// SPDX-License-Identifier: Apache-2.0

package main

import programs "penstock/daemon/internal/process"

// launch is the process in which a handler's program is started. It must not
// print anything: its outputs are the program's.
func launch(_ process, _ command, args []string) int { return programs.Launch(args) }
