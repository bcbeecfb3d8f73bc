// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDisk: the folder that the unit gives the daemon cannot be written. A
// reload works all the same, and the log says what is not kept.
func TestDisk(t *testing.T) {
	need(t)
	for name, key := range map[string]string{"full": fullEnv, "read-only": readonlyEnv} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, "epoll", "")
			h.check(os.Mkdir(h.path("run"), 0o755))
			h.env = []string{key + "=" + h.path("run"), "STATE_DIRECTORY=" + h.path("run")}
			d := h.start()
			guests := h.guests()
			h.edit("Arthur", "King Arthur")
			h.check(d.cmd.Process.Signal(unix.SIGHUP))
			d.await("configuration applied")
			d.await(`configuration not kept for a start that finds mistakes err=.*(no space left on device|read-only file system)`)
			h.edit("King Arthur", "Arthur")
			h.check(d.cmd.Process.Signal(unix.SIGHUP))
			if !d.says(2, "configuration applied") {
				t.Fatalf("no second reload\n%s", d.all())
			}
			for _, g := range guests {
				if g.socket == "echo" || g.socket == "handler" { // others may have been replaced
					h.check(g.round())
				}
				_ = g.Close()
			}
			h.serves()
			d.calm()
			d.stop()
		})
	}
}

// TestDiskFullLog: standard error is a file, and its disk is full.
func TestDiskFullLog(t *testing.T) {
	need(t)
	h := newHost(t, "epoll", "")
	h.check(os.Mkdir(h.path("log"), 0o755))
	h.env = []string{fullEnv + "=" + h.path("log"), stderrEnv + "=" + h.path("log/stderr")}
	d := h.spawn()
	for range 10 {
		h.serves()
	}
	if d.calm(); !d.alive() {
		t.Fatal("the daemon has ended")
	}
}
