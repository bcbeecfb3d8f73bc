// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// SIGHUP has no answer, and the READY=1 that ends a reload says the same
// whether the files were taken or refused (sd_notify(3)). So the daemon leaves
// the result in a file of its runtime folder, where the client that
// `systemctl reload` runs finds it:
//
//	123456789            CLOCK_MONOTONIC in µs when the daemon began to read
//	applied              or: refused
//	2 services, ...      the status line, or why
//
// By the time the client sees whether the result is about the present files: a reading
// that began after the client was started has read what its user wrote before. A
// counter would not show that, because a reload that was under way already may have
// read older files. The alternative was a socket, but an idle daemon would pay a
// descriptor for a question that is asked a few times a year.

const outcomeFile = "reload"

// An outcome is the result of one reload.
type outcome struct {
	began  time.Duration // on the monotonic clock
	err    error         // nil: the files are in force
	status string
}

// monotonic is the clock of outcome.began: the same in every process.
func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
	return time.Duration(ts.Nano())
}

// runtimeFolder is the folder that RuntimeDirectory= of the unit made, or ""
// without one; the first, should there be several (systemd.exec(5)).
func runtimeFolder() string {
	first, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	return first
}

// write replaces the file in the folder; a reader sees the old or the new one.
func (o outcome) write(folder string) error {
	result, text := "applied", o.status
	if o.err != nil {
		result, text = "refused", o.err.Error()
	}
	path := filepath.Join(folder, outcomeFile)
	temp := path + ".new"
	content := fmt.Sprintf("%d\n%s\n%s\n", o.began.Microseconds(), result, text)
	if err := os.WriteFile(temp, []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// readOutcome returns the latest outcome, and false if there is none.
func readOutcome(folder string) (o outcome, ok bool) {
	content, err := os.ReadFile(filepath.Join(folder, outcomeFile))
	if err != nil {
		return o, false
	}
	began, rest, _ := strings.Cut(string(content), "\n")
	result, text, _ := strings.Cut(rest, "\n")
	text = strings.TrimSuffix(text, "\n")
	us, err := strconv.ParseInt(began, 10, 64)
	if err != nil {
		return o, false
	}
	o.began = time.Duration(us) * time.Microsecond
	switch result {
	case "applied":
		o.status = text
	case "refused":
		o.err = errors.New(text)
	default:
		return o, false
	}
	return o, true
}
