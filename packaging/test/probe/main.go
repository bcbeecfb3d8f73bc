// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command probe is what the booted tests of a restart need and a shell cannot do: many
// clients that compare every byte, and the death of a process at a chosen system call.
package main

import (
	"fmt"
	"os"
	"strconv"
)

const usage = `usage: probe clients RATE KIND:NUMBER:ADDRESS...
       probe kill PID MOMENT NUMBER`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) >= 3 && args[0] == "clients":
		rate, err := strconv.Atoi(args[1])
		if err != nil || rate < 1 {
			return fmt.Errorf("%q is no rate", args[1])
		}
		c, err := newCrowd(rate, args[2:])
		if err != nil {
			return err
		}
		return c.serve(os.Stdin, os.Stdout)
	case len(args) == 4 && args[0] == "kill":
		pid, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return kill(pid, args[2], n)
	}
	return fmt.Errorf("%s", usage)
}
