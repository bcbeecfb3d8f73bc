// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFilesOfPrograms: the daemon raises its limit of open files, and no program inherits
// that: select(2) breaks above 1024. A program may raise the limit itself.
func TestFilesOfPrograms(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil { // or Go would restore it for some
		t.Fatal(err)
	}
	const script = "echo soft $(ulimit -Sn) hard $(ulimit -Hn) >&2; ulimit -Sn $(ulimit -Hn) && echo raised >&2; exec cat"
	command := "command=['/bin/sh','-c',\"" + script + "\"]\n"
	getent := filepath.Join(t.TempDir(), "getent")
	if err := os.WriteFile(getent, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string]string{
		"handler":     "kind='handler'\n" + command,
		"bridge":      "kind='bridge'\n" + command,
		"exec pipes":  "kind='exec'\n" + command,
		"exec socket": "kind='exec'\nio='socket'\n" + command,
		"getent":      to("", "app.example:80"),
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, keys, func(r *rig) {
				if p, ok := r.svc.(*proxy); ok {
					p.getent = getent
				}
			})
			r.dial()
			r.log.wait(t, fmt.Sprintf("program wrote text=soft %d hard %d", min(1024, limit.Max), limit.Max), 1)
			r.log.wait(t, "program wrote text=raised", 1)
		})
	}
}
