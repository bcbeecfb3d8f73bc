// SPDX-License-Identifier: Apache-2.0

// Command penstock-web shows a running penstock in a browser, and to Prometheus. See
// penstock-web(8).
//
//	browser ── HTTP, events ──► penstock-web ── Varlink ──► penstock
//	           WebSocket        gate.go      who may ask
//	                            feed.go      asks the daemon while somebody looks
//	                            page.go      what it says, as a page
//	                            terminal.go  a browser as a client of a service
//
// It is a process of its own, because the libraries for the web would double the size of
// the daemon, and because what a stranger's browser sends is then read by a process that
// can do next to nothing. It knows the daemon by the control socket alone. The service
// manager starts it for a request, and it ends a minute after the last one, so a page that
// nobody looks at costs nothing.
package main

import (
	"fmt"
	"io"
	"os"

	"penstock/systemd"
)

// version is set by the linker (see the Makefile).
var version = "unversioned"

// Exit statuses, those of penstock(8).
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitConfig = 78
	exitBroken = 130 // by a signal, at a prompt
)

const usage = `usage: penstock-web [run] [-c FILE] [-socket PATH]
       penstock-web hash
       penstock-web version

run      show the daemon, as the table [web] of FILE says; without a file, the
         built-in example that penstock run serves
hash     read a password and print a line for password_file
version  print the version

Which daemon: that of -socket PATH, then of $PENSTOCK_CONTROL, then the one that
this user has started by hand, then penstock.service. See penstock-web(8).
`

// A process is what main was started with, so that commands can be tested.
type process struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	inherited      systemd.Inherited
	inheritErr     error
}

func main() {
	// First of all, as for the daemon: the descriptors must not be passed on.
	inherited, err := systemd.Inherit()
	p := process{os.Stdin, os.Stdout, os.Stderr, inherited, err}
	os.Exit(p.start(os.Args[1:]))
}

func (p process) start(args []string) int {
	word := ""
	if len(args) > 0 {
		word = args[0]
	}
	switch word {
	case "help", "-h", "-help", "--help":
		fmt.Fprint(p.stdout, usage)
		return exitOK
	case "version":
		fmt.Fprintln(p.stdout, "penstock-web", version)
		return exitOK
	case "hash":
		return p.hash()
	case "run":
		return p.run(args[1:])
	}
	return p.run(args)
}
