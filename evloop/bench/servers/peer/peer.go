// SPDX-License-Identifier: Apache-2.0

// Package peer holds what every Go server of the bench needs before its loop:
// the command line and the table of mode ask. It is the Go side of c/bench.h.
package peer

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// Args are the three words of the command line: MODE NETWORK ADDRESS, for
// example "echo tcp 127.0.0.1:7".
type Args struct{ Mode, Network, Address string }

// Parse reads the command line. A mode that is not among modes ends the
// process with status 2, which the bench takes for "cannot do this".
func Parse(modes ...string) Args {
	if len(os.Args) == 4 {
		for _, m := range modes {
			if os.Args[1] == m {
				return Args{m, os.Args[2], os.Args[3]}
			}
		}
	}
	fmt.Fprintf(os.Stderr, "usage: %s MODE tcp|unix ADDRESS, MODE one of %v\n", os.Args[0], modes)
	os.Exit(2)
	panic("unreachable")
}

// Inherited reports whether the listening socket was handed over as
// descriptor 3 (sd_listen_fds(3)), which the bench does in its starts.
func Inherited() bool { return os.Getenv("LISTEN_FDS") != "" }

// Fail ends the process over an error that nothing can be done about.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// BufferSize is how much a server that has a buffer for each connection should
// read at once. The bench tells how much a client has on the way, so that peers
// get the buffer that a user would choose for that traffic.
func BufferSize() int {
	n, err := strconv.Atoi(os.Getenv("BENCH_BUFFER"))
	if err != nil || n < 4096 {
		return 4096
	}
	return n
}

// Unknown is the answer to a question that is not in the table.
const Unknown = "Error: unknown question."

// table is searched linearly by Answer, as in c/bench.h: a map would be slower
// for three keys, and would differ from the C peers.
var table = [...]struct{ question, answer string }{
	{"What is your name?", "My name is Sir Lancelot of Camelot."},
	{"What is your quest?", "To seek the Holy Grail."},
	{"What is your favorite color?", "Blue."},
}

// Answer returns the answer to a question, its delimiter included.
func Answer(question []byte) string {
	for i := range table {
		if string(question) == table[i].question {
			return table[i].answer
		}
	}
	return Unknown
}

// AppendAnswers appends the answers to all whole questions in in to out, and returns how
// much of in they took.
func AppendAnswers(out, in []byte) (_ []byte, used int) {
	for {
		i := bytes.IndexByte(in[used:], '?')
		if i < 0 {
			return out, used
		}
		out = append(out, Answer(in[used:used+i+1])...)
		used += i + 1
	}
}
