// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The seam costs production nothing but a compare and a branch that is never
// taken: in the object code of the back ends every indirect call stands on a
// line that calls the simulation or a handler, and the system calls are
// direct. The compiler's own listing is read, because a benchmark can only
// say that a difference is smaller than its noise (BenchmarkSeam).
func TestSeamLeavesCallsDirect(t *testing.T) {
	tests := []struct {
		dir              string
		files            []string
		direct, indirect int // at least
	}{
		{"evloop", []string{"io_sys.go", "io_edge.go", "io_epoll.go", "io_epoll_ctl.go", "io_epoll_wait.go", "io_splice.go", "io_ring.go", "io_ring_recv.go", "io_ring_send.go"}, 8, 8},
		{"evloop/internal/uring", []string{"ring.go", "buffers.go"}, 4, 2},
	}
	for _, tt := range tests {
		t.Run(tt.dir, func(t *testing.T) {
			direct, indirect := 0, 0
			for _, c := range callsOf(t, tt.dir, tt.files) {
				switch {
				case strings.HasSuffix(c.target, "(SB)"):
					if strings.Contains(c.target, "Syscall") {
						direct++
					}
				case strings.Contains(c.line, ".sim.") || strings.Contains(c.line, ".h."):
					indirect++
				default:
					t.Errorf("%s is an indirect call: %s", c.place, c.line)
				}
			}
			if direct < tt.direct || indirect < tt.indirect {
				t.Errorf("found %d direct system calls and %d indirect calls: the listing is not understood", direct, indirect)
			}
		})
	}
}

// A listedCall is a call instruction, and the line of source that it is of.
type listedCall struct{ target, place, line string }

// callsOf compiles the package in dir and returns the calls in some of its
// files. What is inlined from another package is that one's.
func callsOf(t *testing.T, dir string, files []string) (calls []listedCall) {
	t.Helper()
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the compiler is not at hand: this is a cross-built test binary")
	}
	cmd := exec.Command(tool, "build", "-gcflags=-S", "-o", os.DevNull, ".")
	cmd.Dir = filepath.Join("..", filepath.FromSlash(dir))
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
	listing, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, listing)
	}
	sources := map[string][]string{}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(cmd.Dir, file))
		if err != nil {
			t.Fatal(err)
		}
		sources[file] = strings.Split(string(text), "\n")
	}
	call := regexp.MustCompile(`\(([^()]*):(\d+)\)\tCALL\t(\S+)`)
	for _, m := range call.FindAllStringSubmatch(string(listing), -1) {
		source := sources[filepath.Base(m[1])]
		if n, _ := strconv.Atoi(m[2]); source != nil && strings.HasSuffix(filepath.ToSlash(filepath.Dir(m[1])), "/"+dir) {
			calls = append(calls, listedCall{m[3], filepath.Base(m[1]) + ":" + m[2], strings.TrimSpace(source[n-1])})
		}
	}
	return calls
}

// BenchmarkSeam sends a byte and receives it, with the seam and without. The
// two take turns and the best round of each counts, so that other load on the
// machine does not decide. Measured: a ratio of 1.00 to 1.01.
func BenchmarkSeam(b *testing.B) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	kind := bothWays | kindSocket | kindTCP // as for TCP: sendto and recvfrom
	out, in := &Conn{fd: int32(pair[0]), kind: kind}, &Conn{fd: int32(pair[1]), kind: kind}
	pieces, buf, k := [][]byte{make([]byte, 1)}, make([]byte, 64), &kernel{}
	through := func() {
		k.send(out, pieces)
		k.recv(in, buf)
	}
	bare := func() {
		bareSend(out, pieces)
		bareRecv(in, buf)
	}
	const round = 200
	timed := func(f func()) time.Duration {
		start := time.Now()
		for range round {
			f()
		}
		return time.Since(start)
	}
	with, without := time.Hour, time.Hour
	for b.Loop() {
		with, without = min(with, timed(through)), min(without, timed(bare))
	}
	b.ReportMetric(float64(with)/round, "ns-with")
	b.ReportMetric(float64(without)/round, "ns-without")
	b.ReportMetric(float64(with)/float64(without), "ratio")
}

// bareSend is kernel.send for one piece on a socket, less the seam.
//
//go:noinline
func bareSend(c *Conn, pieces [][]byte) (int, unix.Errno) {
	p := pieces[0]
	if len(pieces) != 1 || !c.kind.isSocket() {
		return 0, unix.EINVAL
	}
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(r), errno
}

// bareRecv is kernel.recv for TCP, less the seam.
//
//go:noinline
func bareRecv(c *Conn, p []byte) (n int, mark bool, errno unix.Errno) {
	if c.kind&kindTCP == 0 {
		return 0, false, unix.EINVAL
	}
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(r), false, errno
}
