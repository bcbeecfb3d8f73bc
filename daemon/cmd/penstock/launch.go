// SPDX-License-Identifier: Apache-2.0

package main

import "penstock/daemon/internal/service"

// launch is the process in which a handler's program is started. It must not
// print anything: its outputs are the program's.
func launch(_ process, _ command, args []string) int { return service.Launch(args) }
