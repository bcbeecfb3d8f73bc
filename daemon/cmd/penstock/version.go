// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"
	"runtime"
)

const aboutVersion = `usage: penstock version

Prints the version, and the compiler and architecture it was built with.
`

func printVersion(p process, args []string) int {
	if status, ok := p.parse(flag.NewFlagSet("version", flag.ContinueOnError), aboutVersion, args); !ok {
		return status
	}
	fmt.Fprintf(p.stdout, "penstock %s %s %s\n", version, runtime.Version(), runtime.GOARCH)
	return exitOK
}
