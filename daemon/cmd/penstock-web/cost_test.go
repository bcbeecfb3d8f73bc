// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	programs = flag.String("programs", "", "the folder of penstock and penstock-web, for TestCost; none: it is skipped")
	window   = flag.Duration("window", 10*time.Second, "how long TestCost measures each load")
)

const (
	costConns   = 1000
	costPages   = 5
	mostCost    = 3.0 // per cent of a core
	costBetween = 250 * time.Millisecond
)

// A worker is a program of the test.
type worker struct {
	t   *testing.T
	pid int
}

// begin starts a program until the end of the test, and waits for a line with word.
func begin(t *testing.T, env, word string, args ...string) worker {
	t.Helper()
	cmd := exec.Command(filepath.Join(*programs, args[0]), args[1:]...)
	cmd.Env = append(os.Environ(), env)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	said := bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		for said.Scan() { // or it could not end
		}
		_ = cmd.Wait()
	})
	for said.Scan() {
		if strings.Contains(said.Text(), word) {
			return worker{t, cmd.Process.Pid}
		}
	}
	t.Fatalf("%s has ended", args[0])
	return worker{}
}

// cpu returns the time of the processor that a program has had, of which
// /proc/PID/schedstat has nanoseconds for each thread.
func (w worker) cpu() (sum time.Duration) { return time.Duration(w.sum("schedstat", 0)) }

// wakes returns how often threads of the program have waited and gone on.
func (w worker) wakes() int { return w.sum("status", -1) }

// sum adds up a number of each thread: that of a field, or for -1 of its waits.
func (w worker) sum(file string, field int) (sum int) {
	w.t.Helper()
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/%s", w.pid, file))
	if err != nil || len(paths) == 0 {
		w.t.Fatalf("process %d: %v", w.pid, err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		word := ""
		if field >= 0 {
			word = strings.Fields(string(text))[field]
		} else {
			_, rest, _ := strings.Cut(string(text), "\nvoluntary_ctxt_switches:")
			word = strings.Fields(rest)[0]
		}
		n, err := strconv.Atoi(word)
		if err != nil {
			w.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// TestCost: what top and open pages cost beside clients, and that a daemon at which nobody
// looks is not woken. While the clients are silent that is the difference to nothing. While
// they talk it is less, since the processor is awake anyway, and often less than what the
// daemon itself costs more or less from one minute to the next. make bench-watch runs it,
// on a quiet machine.
func TestCost(t *testing.T) {
	if *programs == "" {
		t.Skip("make bench-watch runs this")
	}
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().String()
	_ = l.Close()
	file := filepath.Join(dir, "p.toml")
	text := fmt.Sprintf("[limits]\nconnections = 2000\nper_source = 2000\n[service.e]\nkind = 'echo'\nlisten = ['%s/e']\nidle_timeout = '0s'\n[web]\nlisten = [%q]\n", dir, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := "PENSTOCK_CONTROL=" + filepath.Join(dir, "control")
	daemon := begin(t, env, "Stop with Ctrl-C", "penstock", "run", "-c", file)
	web := begin(t, env, "http://", "penstock-web", "run", "-c", file)
	busy, moved := talkers(t, filepath.Join(dir, "e"))

	var top topRun
	topCPU := func() time.Duration { // of the process itself
		if top.cmd == nil {
			return 0
		}
		return top.cpu()
	}
	measure := func(what string) (cost float64) {
		time.Sleep(3 * time.Second) // the load has begun
		d, w, s, m, begun := daemon.cpu(), web.cpu(), topCPU(), moved.Load(), time.Now()
		time.Sleep(*window)
		took := time.Since(begun).Seconds()
		share := func(from, to time.Duration) float64 { return 100 * (to - from).Seconds() / took }
		of, page, screen := share(d, daemon.cpu()), share(w, web.cpu()), share(s, topCPU())
		t.Logf("%-18s  daemon %5.2f %%, penstock-web %5.2f %%, top %5.2f %%, %5.0f messages/s", what, of, page, screen, float64(moved.Load()-m)/took)
		return of + page + screen
	}
	for _, talk := range []bool{false, true} {
		busy.Store(talk)
		t.Logf("clients talk: %v", talk)
		before := measure("nobody looks")
		leave := openPages(t, "http://"+port+"/events")
		pages := measure("five pages")
		top = runTop(t, env)
		all := measure("top and five pages")
		top.close()
		top.cmd = nil
		leave()
		alone := (before + measure("nobody looks")) / 2
		t.Logf("pages cost %.2f %%, and with top %.2f %% of a core", pages-alone, all-alone)
		if all-alone > mostCost {
			t.Errorf("it is above %v %%", mostCost)
		}
	}
	busy.Store(false)
	time.Sleep(2 * time.Second)
	wakes := daemon.wakes()
	time.Sleep(*window)
	if n := daemon.wakes() - wakes; n > 0 {
		t.Errorf("the daemon was woken %d times in %v", n, *window)
	}
}

// talkers connects clients that send a message four times a second and wait for it to
// come back, while busy is set.
func talkers(t *testing.T, path string) (busy *atomic.Bool, moved *atomic.Int64) {
	t.Helper()
	busy, moved = new(atomic.Bool), new(atomic.Int64)
	ended := make(chan struct{})
	var all sync.WaitGroup
	for i := range costConns {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		all.Go(func() {
			time.Sleep(costBetween * time.Duration(i) / costConns)
			message, back := []byte(strings.Repeat("x", 64)), make([]byte, 64)
			for ticker := time.NewTicker(costBetween); ; {
				select {
				case <-ended:
					return
				case <-ticker.C:
				}
				if !busy.Load() {
					continue
				}
				if _, err := c.Write(message); err != nil {
					return
				}
				if _, err := io.ReadFull(c, back); err != nil {
					return
				}
				moved.Add(1)
			}
		})
	}
	t.Cleanup(func() {
		close(ended)
		all.Wait()
	})
	return busy, moved
}

// openPages follows the page as browsers do.
func openPages(t *testing.T, url string) (leave func()) {
	t.Helper()
	var bodies []io.ReadCloser
	for range costPages {
		resp, err := http.Get(url)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(resp, err)
		}
		bodies = append(bodies, resp.Body)
		go func() { _, _ = io.Copy(io.Discard, resp.Body) }()
	}
	return func() {
		for _, b := range bodies {
			_ = b.Close()
		}
	}
}

// A topRun is top in a terminal of script(1).
type topRun struct {
	worker
	keys io.WriteCloser
	cmd  *exec.Cmd
}

// runTop shows the clients.
func runTop(t *testing.T, env string) topRun {
	t.Helper()
	cmd := exec.Command("script", "-qec", "stty rows 40 cols 120; exec "+filepath.Join(*programs, "penstock")+" top", "/dev/null")
	cmd.Env = append(os.Environ(), env, "TERM=xterm")
	keys, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	if _, err := io.WriteString(keys, "c"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatalf("the children of script are %q", text)
	}
	return topRun{worker{t, child}, keys, cmd}
}

func (r topRun) close() {
	_, _ = io.WriteString(r.keys, "q")
	_ = r.keys.Close()
	_ = r.cmd.Wait()
}
