// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
)

// An output is the standard output of a command. It remembers the first error, so that
// commands print as if there were none, and the one place where all of them end asks for
// it. To check each print would leave some out. Nothing is buffered: watch and tap print
// what happens when it does.
type output struct {
	io.Writer
	err error
}

// Write writes, unless it has failed before: what is missing in the middle is worse than
// what is missing at the end.
func (o *output) Write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.Writer.Write(b)
	o.err = err
	return n, err
}

// ended returns the exit status of a command that has printed. A pipe whose reader has gone
// does not come here: SIGPIPE has ended the process (os/signal), as it ends other tools.
func (p process) ended(name string, o *output, status int) int {
	if o.err == nil || status != exitOK {
		return status
	}
	fmt.Fprintf(p.stderr, "penstock %s: %v\n", name, o.err)
	return exitFailed
}
