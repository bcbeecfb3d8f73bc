// SPDX-License-Identifier: Apache-2.0

package systemctl

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// journalPatience bounds the wait for a journal that is busy or gone.
const journalPatience = 5 * time.Second

// Complaint returns the last error about a unit that the manager has written to
// the journal since then, such as "Failed to resolve group x: No such process",
// or "": the manager tells a reason to nobody else.
func Complaint(unit string, since time.Time) string {
	ctx, cancel := context.WithTimeout(context.Background(), journalPatience)
	defer cancel()
	// What is on its way shall be there; if this fails, what is there will do.
	_ = exec.CommandContext(ctx, "journalctl", "--sync").Run()
	out, err := exec.CommandContext(ctx, "journalctl", "--no-pager", "-q", "-o", "cat", "-p", "err", "-n", "20",
		"--since", "@"+strconv.FormatInt(since.Unix(), 10), "-u", unit).Output()
	if err != nil {
		return ""
	}
	said := ""
	for line := range strings.Lines(string(out)) {
		// The manager's lines without the name say that a job has failed.
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), unit+": "); ok {
			said = text
		}
	}
	return said
}
