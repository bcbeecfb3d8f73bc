// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
)

const aboutVersion = `Prints the version, and the compiler and architecture it was built with.
`

func printVersion(p process, c command, args []string) int {
	if status, ok := p.parse(c, c.flags(), args); !ok {
		return status
	}
	fmt.Fprintf(p.stdout, "penstock %s %s %s\n", version, runtime.Version(), runtime.GOARCH)
	return exitOK
}
