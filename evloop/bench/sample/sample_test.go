// SPDX-License-Identifier: Apache-2.0

package sample

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestProcessCountsItsOwnWork(t *testing.T) {
	before, err := Process(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	// The thread that works is preempted or yields before the second reading,
	// which is when the kernel brings its account up to date.
	var u Usage
	for start, n := time.Now(), 0; u.CPU < 20*time.Millisecond; n++ {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("30 s of work are accounted as %v", u.CPU)
		}
		if n%1_000_000 == 0 {
			after, err := Process(os.Getpid())
			if err != nil {
				t.Fatal(err)
			}
			u = after.Sub(before)
		}
	}
	if u.Threads < 1 {
		t.Errorf("%d threads, want at least 1", u.Threads)
	}
}

func TestProcessThatIsGone(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := Process(cmd.Process.Pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Process = %v, want %v", err, fs.ErrNotExist)
	}
}

// TestTree: the work of children counts, of those that run and of those that have ended. Their
// switches do not.
func TestTree(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "(i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done); echo; cat & cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // the first child has ended
		t.Fatal(err)
	}
	alone, err := Process(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := Tree(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if whole.CPU < alone.CPU+10*time.Millisecond {
		t.Errorf("%v with children, %v without", whole.CPU, alone.CPU)
	}
	for start := time.Now(); Files(cmd.Process.Pid) < 6 || len(children(cmd.Process.Pid)) < 1; {
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%d descriptors, %d children", Files(cmd.Process.Pid), len(children(cmd.Process.Pid)))
		}
	}
	if whole, err = Tree(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if alone, err = Process(cmd.Process.Pid); err != nil || whole.Switches > alone.Switches {
		t.Errorf("%d switches with a child whose end would take back its own, %d without (%v)", whole.Switches, alone.Switches, err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestReadMemory(t *testing.T) {
	m, err := ReadMemory(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if m.Resident < 1<<20 || m.Anonymous > m.Resident || m.Anonymous == 0 || m.PrivateDirty > m.Resident || m.PrivateDirty == 0 {
		t.Errorf("implausible: %+v", m)
	}
}

func TestForeign(t *testing.T) {
	tests := []struct {
		name string
		busy time.Duration
		ours []Usage
		want float64
	}{
		{"only ours", 2 * time.Second, []Usage{{CPU: time.Second}, {CPU: time.Second}}, 0},
		{"a neighbour takes half a CPU", 2500 * time.Millisecond, []Usage{{CPU: time.Second}, {CPU: time.Second}}, 0.5},
		{"ticks are coarser than schedstat", 990 * time.Millisecond, []Usage{{CPU: time.Second}}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Foreign(Host{Busy: tt.busy}, time.Second, tt.ours...); got != tt.want {
				t.Errorf("Foreign = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestStartOn: the child must see its one CPU at once, and the parent must
// have its own back.
func TestStartOn(t *testing.T) {
	before, err := CPUs()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "grep", "Cpus_allowed_list", "/proc/self/status")
	var out strings.Builder
	cmd.Stdout = &out
	last := before[len(before)-1]
	if err := StartOn(cmd, last); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, list, _ := strings.Cut(out.String(), ":"); strings.TrimSpace(list) != strconv.Itoa(last) {
		t.Errorf("the child may use %q, want %d", strings.TrimSpace(list), last)
	}
	after, err := CPUs()
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) {
		t.Errorf("afterwards %v, before %v", after, before)
	}
}
