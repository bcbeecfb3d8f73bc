// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// journalSocket is where journald reads the native protocol. In a unit with
// LogNamespace= systemd mounts another journal over the same path.
const journalSocket = "/run/systemd/journal/socket"

// Options says where log records go. The zero value is what a daemon wants.
type Options struct {
	// Identifier is SYSLOG_IDENTIFIER=, the name in front of the lines of
	// journalctl(1). Default: the last element of os.Args[0]. A unit's
	// SyslogIdentifier= does not reach the native protocol.
	Identifier string

	// Level is the least level that is logged; nil means slog.LevelInfo.
	// A *slog.LevelVar can be changed while the process runs.
	Level slog.Leveler

	// AddSource adds CODE_FILE, CODE_LINE and CODE_FUNC to journal records.
	AddSource bool

	// Waiting is called when records have begun to wait, from the goroutine
	// that logged and without a lock held. It must not log. After it the
	// program should call [Sink.Flush] every 100 ms or so, until that returns
	// 0: each call can fill journald's queue once, with a few hundred records.
	// It may be nil.
	Waiting func()

	// SocketPath is the journal's native socket, if it is not the usual one.
	// When set, it is used whatever standard error is.
	SocketPath string

	// Stderr takes the lines when the journal does not; nil means descriptor
	// 2, with a write that never blocks. A Writer given here may block.
	Stderr io.Writer
}

// NewHandler returns a handler for [slog.New] and the Sink behind it. It picks
// the first that works:
//
//	stderr is the journal   native protocol, each attribute a field
//	  ... but no socket     lines on stderr, with a priority prefix:
//	                        "<4>connection refused service=lobby"
//	anything else           lines on stderr, with the level in words:
//	                        "warn connection refused service=lobby"
//
// Lines begin with the time when stderr is a terminal or a file. A pipe or a
// socket has a reader that stamps what it gets, as supervisors do.
//
// "Stderr is the journal" means that JOURNAL_STREAM names the device and inode
// of descriptor 2, not only that it is set: a child whose output goes
// elsewhere inherits the variable (systemd.exec(5)).
//
// In the journal, MESSAGE is the message followed by the attributes as
// key=value, and each attribute is a field of its own: the groups and the key
// in upper case, joined by underscores, every other character replaced by one;
// ATTR_ goes in front of a leading digit and of names that the handler writes.
// The attribute "message_id" becomes MESSAGE_ID and is left out of every text.
// RECORD_REALTIME_USEC is the time of a record that had to wait. A record is
// cut at 64 KiB, a line at 4096 bytes; TRUNCATED=1 says so in the journal.
//
// The handler may be used by any goroutine. It never blocks and never fails:
// what cannot be delivered now waits in the Sink, and what does not fit there
// is counted and reported by a record of its own.
func NewHandler(o Options) (slog.Handler, *Sink) {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.Identifier == "" {
		o.Identifier = filepath.Base(os.Args[0])
	}
	// A malformed JOURNAL_STREAM is no reason to lose the log: it counts as no
	// journal.
	isJournal := stderrIsJournal(os.Getenv("JOURNAL_STREAM"))
	h := &handler{level: o.Level, source: o.AddSource, identifier: identifierField(o.Identifier)}
	h.sink = &Sink{form: h, waiting: o.Waiting}
	if isJournal || o.SocketPath != "" {
		path := o.SocketPath
		if path == "" {
			path = journalSocket
		}
		if sock, err := dialJournal(path); err == nil {
			h.format, h.sink.out = formatJournal, sock
			return h, h.sink
		}
	}
	switch {
	case o.Stderr != nil:
		h.format, h.sink.out = formatPlain, writer{o.Stderr}
	case isJournal:
		h.format, h.sink.out = formatPriority, newStream(unix.Stderr)
	default:
		h.format, h.sink.out = formatPlain, newStream(unix.Stderr)
		h.stamp = nobodyStamps(unix.Stderr)
	}
	return h, h.sink
}

// identifierField makes the encoded field that every record carries.
func identifierField(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '_' // a newline would begin another field
		}
		return r
	}, name)
	return fmt.Sprintf("SYSLOG_IDENTIFIER=%.64s\n", name)
}

// nobodyStamps reports whether lines on fd have no time unless we add it.
func nobodyStamps(fd int) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return true
	}
	kind := st.Mode & unix.S_IFMT
	return kind == unix.S_IFREG || kind == unix.S_IFCHR
}
