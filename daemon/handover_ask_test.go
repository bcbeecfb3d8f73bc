// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRestartIsAskedForInVain: clients are served while it is found out whether the next
// process can start, which takes its time, and go on if it cannot. A second signal
// does not ask a second time.
func TestRestartIsAskedForInVain(t *testing.T) {
	path := t.TempDir() + "/s"
	r, out := runRestartable(t, parse(t, fmt.Sprintf("[service.e]\nkind = 'echo'\nlisten = ['%s']\n", path)))
	c := talk(t, path)
	c.say("x")
	c.hears("x")
	asked, why := make(chan bool, 2), make(chan error)
	r.do(func() {
		r.env.MayExec = func() error { asked <- true; return <-why }
		r.signalled(unix.SIGUSR2)
		r.signalled(unix.SIGUSR2)
	})
	<-asked
	c.say("y")
	c.hears("y")
	why <- errors.New("the file has a mistake")
	r.until("the answer", func() bool { return !r.handing.asking })
	c.say("z")
	c.hears("z")
	if len(asked) > 0 {
		t.Error("it was asked twice")
	}
	c.Close()
	r.stop(t)
	if !strings.Contains(out.String(), "the file has a mistake") || strings.Contains(out.String(), "handing over") {
		t.Errorf("the log does not say why nothing was handed over:\n%s", out)
	}
}
