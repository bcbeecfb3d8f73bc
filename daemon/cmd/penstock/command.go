// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	programs "penstock/daemon/internal/process"
)

// A command is one word after penstock; its file has the same name. Usage and
// -h are made from these rows. The manual page and the completions are written
// by hand, since the shells differ too much; a test compares them with the rows.
type command struct {
	name    string
	options []option
	operand string // what may follow the options; "": nothing
	line    string // what it does, in the usage and the completions
	more    string // what -h adds to the usage
	main    func(p process, c command, args []string) int
}

// An option is a flag of one letter, or of a word behind a second dash.
type option struct {
	letter string
	value  string // what follows it; "" for a switch
}

// name is how package flag knows the option.
func (o option) name() string { return strings.TrimPrefix(o.letter, "-") }

var (
	fileOption    = option{"c", "FILE"}
	keepOption    = option{"k", ""}
	previewOption = option{"n", ""}
	sandboxOption = option{"s", ""}
)

// serves is the command that is no failure if nobody reads what it prints.
const serves = "run"

var commands = []command{
	{serves, []option{fileOption}, "", "serve in the foreground; without a file, a built-in example", aboutRun, run},
	{"check", []option{fileOption, sandboxOption}, "", "report every mistake in the configuration", aboutCheck, check},
	{"units", []option{fileOption}, "", "print the systemd units that the configuration makes", aboutUnits, units},
	{"apply", []option{keepOption, previewOption}, "", "put the changed configuration in force, sockets included", aboutApply, applyFile},
	{"reload", []option{fileOption, socketOption}, "", "have the running daemon read its files again", aboutReload, reload},
	{"status", []option{socketOption, jsonOption}, "[SERVICE]", "say what is served, to whom, and what was refused", aboutStatus, status},
	{"list", []option{socketOption, sortOption, jsonOption}, "[SERVICE]", "list the clients", aboutList, list},
	{"kick", []option{socketOption}, "ID|SERVICE PEER", "end connections", aboutKick, kick},
	{"drain", []option{socketOption, nowOption}, "SERVICE", "let no new client of a service in", aboutDrain, drain},
	{"resume", []option{socketOption}, "SERVICE", "let clients of it in again", aboutResume, resume},
	{"log-level", []option{socketOption}, "LEVEL", "set what is logged, until the next start or reload", aboutLogLevel, logLevel},
	{"top", []option{socketOption}, "", "show live what is served, and to whom", aboutTop, top},
	{"send", []option{socketOption, nameOption}, "SERVICE TEXT", "send a line to a room, or a message to a device", aboutSend, sendMessage},
	{"watch", []option{socketOption, levelOption, jsonOption}, "[SERVICE]", "show the log as it is written", aboutWatch, watch},
	{"tap", []option{socketOption, hexOption, writeOption, jsonOption}, "SERVICE|ID", "show what goes over connections", aboutTap, tap},
	{"metrics", []option{socketOption}, "", "print what is counted, for Prometheus", aboutMetrics, metrics},
	{"version", nil, "", "print the version", aboutVersion, printVersion},
}

// hidden are commands that the daemon and generated units start.
var hidden = []command{
	{name: "keep-units", main: keepUnits},
	{name: probeName, main: probe},
	{name: programs.LaunchCommand, main: launch},
}

// arguments returns what may follow the name: "[-c FILE]".
func (c command) arguments() string {
	var words []string
	for _, o := range c.options {
		words = append(words, "["+strings.TrimSpace("-"+o.letter+" "+o.value)+"]")
	}
	if c.operand != "" {
		words = append(words, c.operand)
	}
	return strings.Join(words, " ")
}

// usageColumn is the width of commands in the usage.
const usageColumn = 17

// usage returns the answer to a command line without a command.
func usage() string {
	var b strings.Builder
	b.WriteString("usage: penstock COMMAND [ARGUMENTS]\n\n")
	for _, c := range commands {
		words := c.name + " " + c.arguments()
		if len(words) > usageColumn { // -h shows them
			words = c.name + " …"
		}
		fmt.Fprintf(&b, "  %-*s %s\n", usageColumn, words, c.line)
	}
	b.WriteString("\npenstock COMMAND -h tells more; penstock(8) and penstock.toml(5) tell all.\n")
	return b.String()
}

// help returns the answer to -h.
func (c command) help() string {
	return strings.TrimRight("usage: penstock "+c.name+" "+c.arguments(), " ") + "\n\n" + c.more
}

// flags returns an empty set of flags, which parse reads.
func (c command) flags() *flag.FlagSet { return flag.NewFlagSet(c.name, flag.ContinueOnError) }

// parse reads the flags of a command that takes no other arguments. When it
// returns false the command is over, with that exit status.
func (p process) parse(c command, flags *flag.FlagSet, args []string) (status int, ok bool) {
	_, status, ok = p.parseOperands(c, flags, args)
	return status, ok
}

// parseOperands is parse for a command that takes an operand, before or behind its flags.
func (p process) parseOperands(c command, flags *flag.FlagSet, args []string) (operands []string, status int, ok bool) {
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	err := flags.Parse(args)
	for err == nil && flags.NArg() > 0 {
		if len(operands) == len(strings.Fields(c.operand)) {
			err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
			break
		}
		operands = append(operands, flags.Arg(0))
		err = flags.Parse(flags.Args()[1:])
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(p.stdout, c.help())
		return nil, exitOK, false
	case err != nil:
		fmt.Fprintf(p.stderr, "penstock %s: %v\n%s", c.name, err, c.help())
		return nil, exitUsage, false
	}
	return operands, exitOK, true
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
