// SPDX-License-Identifier: Apache-2.0

// Command penstock serves the services of one configuration file on one event
// loop. See penstock(8) and penstock.toml(5).
package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"penstock/daemon"
	"penstock/systemd"
)

// version is set by the linker (see the Makefile).
var version = "unversioned"

// Exit statuses, as penstock(8) lists them. 78 is EX_CONFIG of sysexits.h: a
// restart would change nothing.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78

	// exitHandedOver is EX_TEMPFAIL of sysexits.h: the unit names it as a success
	// after which the service is started again.
	exitHandedOver = 75
)

// A process is what main was started with, so that commands can be tested.
type process struct {
	stdout, stderr io.Writer
	inherited      systemd.Inherited
	inheritErr     error
	root           string // "/", but for tests
}

func main() {
	// First of all: until its variables are gone from the environment, anything
	// that starts a process would pass our sockets on.
	inherited, err := systemd.Inherit(daemon.QueueName)
	p := process{os.Stdout, os.Stderr, inherited, err, "/"}
	os.Exit(p.start(os.Args))
}

// run dispatches to the subcommand and returns the exit status.
func (p process) run(args []string) int {
	if len(args) == 0 {
		fmt.Fprint(p.stderr, usage())
		return exitUsage
	}
	out := &output{Writer: p.stdout}
	printing := p
	printing.stdout = out
	switch args[0] {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(out, usage())
		return p.ended(args[0], out, exitOK)
	}
	for _, c := range slices.Concat(commands, hidden) {
		if c.name == args[0] {
			status := c.main(printing, c, args[1:])
			if c.name == serves {
				return status
			}
			return p.ended(c.name, out, status)
		}
	}
	fmt.Fprintf(p.stderr, "penstock: unknown command %q\n%s", args[0], usage())
	return exitUsage
}
