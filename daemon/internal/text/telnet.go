// SPDX-License-Identifier: Apache-2.0

package text

// Commands of the telnet protocol (RFC 854).
const (
	iac  = 0xff // a command follows
	will = 0xfb // WILL, WONT, DO and DONT have an option
	dont = 0xfe
	sb   = 0xfa // an option's parameters, up to IAC SE
	se   = 0xf0
)

// BeginsTelnet reports whether line begins with a telnet command, which few do.
func BeginsTelnet(line []byte) bool { return len(line) > 0 && line[0] == iac }

// TrimTelnet returns line without the telnet commands at its beginning. PuTTY
// offers its options before the first key is pressed, and telnet says that it
// was interrupted; both stand in front of what was typed. They are not
// answered: a client that gets no answer goes on without the options.
//
//	FF FB 1F  FF FD 03  FF F4  hello
//	WILL NAWS DO SGA    IP     └── line
//
// 0xFF is in no text that is UTF-8, so nothing else is taken for a command. A
// command that is cut by the end of the line goes too.
func TrimTelnet(line []byte) []byte {
	for BeginsTelnet(line) {
		line = line[min(len(line), command(line)):]
	}
	return line
}

// command returns the length of the command that p begins with.
func command(p []byte) int {
	if len(p) < 2 {
		return len(p)
	}
	switch c := p[1]; {
	case c == sb:
		for i := 2; i+1 < len(p); i++ {
			if p[i] == iac && p[i+1] == se {
				return i + 2
			}
		}
		return len(p)
	case c >= will && c <= dont:
		return 3
	}
	return 2
}
