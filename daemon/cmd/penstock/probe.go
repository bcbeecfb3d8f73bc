// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"penstock/evloop"
)

// A seccomp filter may answer io_uring_setup(2) with a signal that cannot be
// caught. So the first attempt is made by a child process, of which only the
// end is looked at: the daemon itself asks the kernel only after the child has
// come through. A process cannot read the filter that it is under.

const (
	probeName = "probe-io-uring"
	// probePatience covers the start of a process on a small board under load.
	probePatience = 5 * time.Second
)

// probe is the child: it uses io_uring once and says in one line what went wrong.
func probe(p process, _ command, args []string) int {
	if len(args) > 0 {
		fmt.Fprintf(p.stderr, "penstock %s: unexpected argument %q\n", probeName, args[0])
		return exitUsage
	}
	if err := evloop.ProbeIOUring(); err != nil {
		fmt.Fprintln(p.stdout, err)
		return exitFailed
	}
	return exitOK
}

// askChild returns why io_uring is not to be used, or nil.
func askChild() error {
	ctx, cancel := context.WithTimeout(context.Background(), probePatience)
	defer cancel()
	// By this name, and not by that of the program, the child is the same
	// binary even when an upgrade has replaced the file.
	cmd := exec.CommandContext(ctx, "/proc/self/exe", probeName)
	cmd.Args[0] = os.Args[0]
	said, err := cmd.Output()
	switch reason := strings.TrimSpace(string(said)); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("probe for io_uring: %w", ctx.Err())
	case reason != "":
		return errors.New(reason)
	default:
		return fmt.Errorf("probe for io_uring: %w", err)
	}
}
