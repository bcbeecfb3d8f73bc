// SPDX-License-Identifier: Apache-2.0

// Package sample reads what the kernel accounts to a process and to the
// machine, so that two readings around a window say what the window cost.
//
// The source is proc(5). CPU time is the first field of
// /proc/PID/task/TID/schedstat, in nanoseconds and exact. The alternatives were
// rejected: utime and stime of /proc/PID/stat count ticks of 10 ms, and
// getrusage(2) knows only one's own process and children that have ended.
package sample

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process has used since it started, all threads together. The
// part of a thread that has ended is lost; servers keep their threads.
type Usage struct {
	CPU      time.Duration // on a CPU, kernel work in its own calls included
	Waited   time.Duration // runnable, but another thread had the CPU
	Switches uint64        // voluntary and involuntary context switches
	Threads  int
}

// Sub returns what was used between the reading before and u.
func (u Usage) Sub(before Usage) Usage {
	return Usage{u.CPU - before.CPU, u.Waited - before.Waited, u.Switches - before.Switches, u.Threads}
}

// Add returns what u and v have used together.
func (u Usage) Add(v Usage) Usage {
	return Usage{u.CPU + v.CPU, u.Waited + v.Waited, u.Switches + v.Switches, u.Threads + v.Threads}
}

// Process reads the usage of a process. A process that is gone satisfies
// errors.Is(err, fs.ErrNotExist).
func Process(pid int) (Usage, error) {
	tasks := filepath.Join("/proc", strconv.Itoa(pid), "task")
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return Usage{}, fmt.Errorf("list threads: %w", err)
	}
	var u Usage
	for _, e := range entries {
		t, err := task(filepath.Join(tasks, e.Name()))
		if errors.Is(err, os.ErrNotExist) {
			continue // it ended since the listing
		}
		if err != nil {
			return Usage{}, err
		}
		u.CPU += t.CPU
		u.Waited += t.Waited
		u.Switches += t.Switches
		u.Threads++
	}
	return u, nil
}

// Tree reads what a process and its descendants have used, those included that have ended
// and were waited for. Switches are those of the process itself: no file tells how many an
// ended one had, so a sum of those that live would go down.
func Tree(pid int) (Usage, error) {
	u, err := Process(pid)
	if err != nil {
		return Usage{}, err
	}
	ended, err := Ended(pid)
	if err != nil {
		return Usage{}, err
	}
	u.CPU += ended
	for _, child := range children(pid) {
		if v, err := Tree(child); err == nil { // else it ended since the listing
			v.Switches = 0
			u = u.Add(v)
		}
	}
	return u, nil
}

// children returns the processes that a process has started and not waited for.
func children(pid int) []int {
	lists, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "children"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for word := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// Files returns how many descriptors a process and its descendants have open.
func Files(pid int) int {
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		return 0
	}
	n := len(entries)
	for _, child := range children(pid) {
		n += Files(child)
	}
	return n
}

// TreeMemory reads the memory of a process and its descendants.
func TreeMemory(pid int) (Memory, error) {
	m, err := ReadMemory(pid)
	if err != nil {
		return Memory{}, err
	}
	for _, child := range children(pid) {
		if c, err := TreeMemory(child); err == nil { // else it ended since the listing
			m.Resident += c.Resident
			m.Anonymous += c.Anonymous
			m.PrivateDirty += c.PrivateDirty
		}
	}
	return m, nil
}

// Ended returns the CPU time of the children of a process that it has waited for, and
// theirs. The kernel counts it exactly and tells it in ticks of 10 ms.
func Ended(pid int) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, fmt.Errorf("read the time of children: %w", err)
	}
	_, behind, _ := strings.Cut(string(text), ") ") // the name may hold spaces
	f := strings.Fields(behind)
	if len(f) < 15 {
		return 0, fmt.Errorf("parse /proc/%d/stat: %d fields", pid, len(f))
	}
	var ticks int64
	for _, field := range f[13:15] { // cutime, cstime: proc(5) counts from 1, and two are cut off
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse /proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

func task(dir string) (Usage, error) {
	text, err := os.ReadFile(filepath.Join(dir, "schedstat"))
	if err != nil {
		return Usage{}, err
	}
	var u Usage
	if _, err := fmt.Fscan(bytes.NewReader(text), &u.CPU, &u.Waited); err != nil {
		return Usage{}, fmt.Errorf("parse %s/schedstat: %w", dir, err)
	}
	text, err = os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return Usage{}, err
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if !strings.HasSuffix(key, "voluntary_ctxt_switches") { // and "nonvoluntary"
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 64)
		if err != nil {
			return Usage{}, fmt.Errorf("parse %s/status: %w", dir, err)
		}
		u.Switches += n
	}
	return u, nil
}

// Memory is the resident memory of a process in bytes.
type Memory struct {
	Resident     int64 // Rss
	Anonymous    int64 // Pss_Anon, since Linux 5.4: no file backs it; what processes share is divided among them
	PrivateDirty int64 // what only this process has, and no file backs
}

// ReadMemory reads /proc/PID/smaps_rollup (since Linux 4.14).
func ReadMemory(pid int) (Memory, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	if err != nil {
		return Memory{}, fmt.Errorf("read memory: %w", err)
	}
	var m Memory
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(f[1], 10, 64) // the header line has no number there
		switch f[0] {
		case "Rss:":
			m.Resident = kib << 10
		case "Pss_Anon:":
			m.Anonymous = kib << 10
		case "Private_Dirty:":
			m.PrivateDirty = kib << 10
		}
	}
	return m, nil
}
