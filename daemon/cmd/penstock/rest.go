// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What only a start or a reload needs is given back soon after it: the pages of the program
// that have read the configuration and opened the sockets. They were mapped, some with what
// lies around them, and would count as resident for as long as the process lives, although
// it does not run them again: more than half of what it holds. They stay in the page cache
// while there is room, and one that is needed after all is mapped again from there.
//
// So is the garbage of them, if there was so much that it had to be collected once: until
// the runtime collects again, which may take two minutes, a reload of large tables would hold
// both, and keep the pages of one for longer. On a board with 512 MB that is most of what
// the unit may have. A process that has never collected is left asleep: from its first
// collection on it would wake up every two minutes.
//
// MADV_DONTNEED of madvise(2) is right for pages that are as in the file, and would lose
// others. So a mapping in which anything is the process's own is left alone.

// restAfter is when a start or a reload counts as over.
const restAfter = time.Second

// rest gives those pages back when the start is over, and again when the timer that it
// returns is reset. The caller stops that at the end of the process.
func rest() *time.Timer {
	return time.AfterFunc(restAfter, func() {
		var s debug.GCStats
		if debug.ReadGCStats(&s); s.NumGC > 0 {
			debug.FreeOSMemory()
		}
		unmapUnchanged()
	})
}

// unmapUnchanged gives the pages of the program back.
func unmapUnchanged() {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return // no /proc: the pages stay
	}
	defer f.Close()
	for _, m := range unchanged(f) {
		// An error leaves them resident, and nothing else depends on it.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.at, m.size, unix.MADV_DONTNEED)
	}
}

// A mapping is a part of the address space.
type mapping struct{ at, size uintptr }

// unchanged returns the mappings of files that cannot be written to and have no page that
// differs from the file, given /proc/PID/smaps (proc_pid_smaps(5)). That is long, and to
// read it must not take the memory that is given back: so it is taken by lines, and most
// are only looked at.
func unchanged(smaps io.Reader) (list []mapping) {
	var m mapping // of a file, and not written to; no size: another one
	lines := bufio.NewScanner(smaps)
	lines.Buffer(make([]byte, longestLine), longestLine)
	for lines.Scan() {
		line := lines.Bytes()
		if bytes.HasPrefix(line, []byte("Anonymous: ")) {
			if m.size > 0 && string(bytes.TrimSpace(line[len("Anonymous:"):])) == "0 kB" {
				list = append(list, m)
			}
			continue
		}
		if at := bytes.IndexByte(line, '-'); at < 0 || at > bytes.IndexByte(line, ' ') {
			continue
		}
		m = mapping{}
		if f := strings.Fields(string(line)); len(f) > 5 && strings.HasPrefix(f[5], "/") && strings.HasPrefix(f[1], "r-") {
			m = span(f[0])
		}
	}
	return list
}

// longestLine is more than the longest path. A longer line would end the list.
const longestLine = 8 << 10

// span returns the mapping that "from-to" says, in hexadecimal digits.
func span(s string) mapping {
	from, to, _ := strings.Cut(s, "-")
	a, err := strconv.ParseUint(from, 16, 64)
	b, err2 := strconv.ParseUint(to, 16, 64)
	if err != nil || err2 != nil || b < a {
		return mapping{}
	}
	return mapping{uintptr(a), uintptr(b - a)}
}
