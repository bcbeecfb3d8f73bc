// SPDX-License-Identifier: Apache-2.0

package service

import (
	"testing"
	"time"

	"penstock/evloop"
)

// A client that waits for a reply is not idle, however long that takes, even if it
// has closed its side for sending. When nothing is owed the count begins.
func TestHandlerOwedReplyIsNotIdleness(t *testing.T) {
	r := serveProgram(t, "")
	first := r.dial()
	first.send("x\n")
	first.want("x") // the program runs: what it does not take is another matter
	first.conn.Close()
	r.wantEnd(nil)
	r.do(func() { r.opts.IdleTimeout = 200 * time.Millisecond })
	waiting, half := r.dialWith("hold\n"), r.dialWith("hold\n") // 2 and 3
	half.shut()
	for range 3 { // as long as it takes that a silent client is cut, three times
		silent := r.dial()
		r.wantEnd(evloop.ErrIdle)
		silent.wantEOF()
	}
	r.dialWith("raw {\"conn\":2,\"data\":\"at last\"}\nraw {\"conn\":3,\"data\":\"to you, too\"}\n")
	waiting.want("at last")
	half.want("to you, too")
	half.wantEOF()
	r.wantEnd(nil)
	r.wantEnd(evloop.ErrIdle) // waiting; the one that asked is still owed two replies
	waiting.wantEOF()
}
