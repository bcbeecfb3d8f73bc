// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
)

// A command is one word after penstock; its file has the same name.
type command struct {
	name string
	main func(p process, args []string) int
}

var commands = []command{
	{"run", run},
	{"check", check},
	{"units", units},
	{"apply", applyFile},
	{"reload", reload},
	{"version", printVersion},
	{probeName, probe}, // not in the usage: it is for the daemon itself
}

const usage = `usage: penstock COMMAND [ARGUMENTS]

  run [-c FILE]     serve; without a file, a built-in example on loopback
  check [-c FILE]   report every mistake in the configuration
  units [-c FILE]   print the systemd units that the configuration makes
  apply [-k]        put the changed configuration in force, sockets included
  reload [-c FILE]  have the running daemon read its files again
  version           print the version

penstock COMMAND -h tells more; penstock(8) and penstock.toml(5) tell all.
`

// parse reads the flags of a command that takes no other arguments. When it
// returns false the command is over, with that exit status.
func (p process) parse(flags *flag.FlagSet, about string, args []string) (status int, ok bool) {
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	err := flags.Parse(args)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.stdout, about)
		return exitOK, false
	case err != nil:
		fmt.Fprintf(p.stderr, "penstock %s: %v\n%s", flags.Name(), err, about)
		return exitUsage, false
	}
	return exitOK, true
}

// start tells the two names of the program apart.
func (p process) start(argv []string) int {
	if filepath.Base(argv[0]) == generatorName {
		return generate(p, argv[1:])
	}
	return p.run(argv[1:])
}

// path returns the name of a system file below root.
func (p process) path(name string) string { return filepath.Join(p.root, name) }
