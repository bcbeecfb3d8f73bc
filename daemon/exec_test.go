// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"testing"
)

// eachIO runs a test with the programs between pipes, and with the connections.
func eachIO(t *testing.T, backend string, test func(t *testing.T, socket, text string)) {
	for _, io := range []string{"pipes", "socket"} {
		t.Run(backend+" "+io, func(t *testing.T) {
			socket := t.TempDir() + "/s"
			test(t, socket, fmt.Sprintf("[loop]\nbackend = %q\n[service.x]\nkind = 'exec'\nio = %q\nlisten = ['%s']\n", backend, io, socket))
		})
	}
}

// TestExecBacklog: a client for which there is no program yet waits in the backlog, where
// it costs nothing and counts for no limit.
func TestExecBacklog(t *testing.T) {
	for _, backend := range []string{"epoll", "auto"} {
		eachIO(t, backend, func(t *testing.T, socket, text string) {
			r := runDaemon(t, parse(t, text+"command = ['/bin/cat']\nmax_children = 1\n"))
			a := talk(t, socket)
			a.say("a")
			a.hears("a")
			b := talk(t, socket)
			b.say("b")
			c := talk(t, socket)
			c.say("c")
			r.until("turns", func() bool { return r.endpoints["x"].conns == 1 })
			a.Close()
			b.hears("b")
			b.Close()
			c.hears("c")
			c.Close()
			r.until("the end of all", func() bool { return r.endpoints["x"].conns == 0 })
			r.stop(t)
		})
	}
}

// TestRestartDrainsExec: at a restart a program has the time to end, and who comes then is
// for the next process.
func TestRestartDrainsExec(t *testing.T) {
	for _, backend := range []string{"epoll", "auto"} {
		eachIO(t, backend, func(t *testing.T, socket, text string) {
			cfg := parse(t, text+"command = ['/bin/sh', '-c', 'echo up; cat; echo done']\n")
			r, _ := runRestartable(t, cfg)
			c := talk(t, socket)
			c.hears("up\n")
			c.say("half")
			c.hears("half")
			r, _ = r.restart(t, cfg)
			c.hears("done\n")
			c.hearsEnd()
			c = talk(t, socket)
			c.hears("up\n")
			c.Close()
			r.stop(t)
		})
	}
}
