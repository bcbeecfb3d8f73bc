// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop/bench/load"
)

// A Record is one line of the results: a run of one server in one round. Lines
// are written as the runs end, also those of disturbed runs, so that every
// figure can be computed again.
type Record struct {
	Cell    Cell        `json:"cell"`
	Peer    string      `json:"peer"`
	Round   int         `json:"round"`
	Attempt int         `json:"attempt"`
	Quiet   bool        `json:"quiet"`
	Error   string      `json:"error,omitempty"`
	Result  load.Result `json:"result"`
}

// A Machine is the first line of the results: where and with what.
type Machine struct {
	Time      time.Time `json:"time"`
	CPU       string    `json:"cpu"`
	CPUs      int       `json:"cpus"`
	Kernel    string    `json:"kernel"`
	Arch      string    `json:"arch"`
	Go        string    `json:"go"`
	Compiler  string    `json:"compiler,omitempty"`
	ServerCPU int       `json:"server_cpu"`
	LoadCPU   int       `json:"load_cpu"`
	Window    string    `json:"window"`
}

func machine(g Rig) Machine {
	m := Machine{
		Time: time.Now().UTC().Truncate(time.Second), CPU: cpuModel(), CPUs: runtime.NumCPU(),
		Arch: runtime.GOARCH, Go: runtime.Version(), ServerCPU: g.ServerCPU, LoadCPU: g.LoadCPU, Window: g.Window.String(),
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if out, err := exec.Command("cc", "--version").Output(); err == nil {
		m.Compiler, _, _ = strings.Cut(string(out), "\n")
	}
	return m
}

// cpuModel returns what /proc/cpuinfo calls the CPU; the key differs between
// architectures, and some boards name only themselves.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for _, key := range []string{"model name", "Model", "uarch"} {
		for line := range strings.Lines(string(text)) {
			if k, v, _ := strings.Cut(line, ":"); strings.TrimSpace(k) == key {
				return strings.TrimSpace(v)
			}
		}
	}
	return ""
}

// A journal writes JSON, one value a line.
type journal struct{ enc *json.Encoder }

func newJournal(w io.Writer) journal { return journal{json.NewEncoder(w)} }

func (j journal) write(v any) error {
	if err := j.enc.Encode(v); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
