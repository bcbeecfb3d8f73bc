// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A cpu is a processor that servers are built for and emulated as.
type cpu struct {
	name   string
	qemu   []string // the emulator and its options
	cc     []string // the C compiler and its options
	goarch string
	goarm  string
	waits  [2]int // the numbers of epoll_wait(2) and epoll_pwait(2)
	spared bool   // it is skipped where its compiler or emulator is missing
}

// cpus are in the order of the table. Debian's compiler for armhf makes nothing older
// than ARMv7, so that the C loop for ARMv6 is built by that for armel, whose library is
// built for ARMv5. A machine that is no amd64 itself has no compiler for it as a rule, and
// no need to count for it: the ARMs are what this is for.
var cpus = []cpu{
	{"amd64", []string{"qemu-x86_64"}, []string{"x86_64-linux-gnu-gcc"}, "amd64", "", [2]int{232, 281}, true},
	{"armv7", []string{"qemu-arm", "-cpu", "cortex-a7"}, []string{"arm-linux-gnueabihf-gcc"}, "arm", "7", [2]int{252, 346}, false},
	{"armv6", []string{"qemu-arm", "-cpu", "arm1176"}, []string{"arm-linux-gnueabi-gcc", "-march=armv6"}, "arm", "6", [2]int{252, 346}, false},
}

// skipped says why nothing can be counted on the CPU here, or "".
func (c cpu) skipped(dir, plugin string) (why string, err error) {
	for _, command := range []string{c.cc[0], c.qemu[0]} {
		if _, err := exec.LookPath(command); err != nil && c.spared {
			return command + " is missing", nil
		}
	}
	return c.takesPlugins(dir, plugin)
}

// takesPlugins tries the plugin with a program that does nothing, and says why it cannot be
// used, or "". An emulator that is linked statically, such as qemu-user of Debian 13, loads
// none, and a later version of QEMU may refuse one made for this interface. What its help
// says tells neither.
func (c cpu) takesPlugins(dir, plugin string) (why string, err error) {
	bin := filepath.Join(dir, "nothing-"+c.name)
	if err := c.compile(bin, strings.NewReader("int main(void) { return 0; }\n"), "-x", "c", "-"); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "counts")
	n, err := mapCounts(file)
	if err != nil {
		return "", err
	}
	defer n.unmap()
	out, err := c.emulate(plugin, file, bin).CombinedOutput()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return "", fmt.Errorf("start %s: %w", c.qemu[0], err)
	}
	if err != nil || n.read().insns == 0 {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return fmt.Sprintf("this %s does not take the plugin (that of Debian 12 does): %q", c.qemu[0], first), nil
	}
	return "", nil
}

// build compiles a server of the bench for the CPU into dir. It is static, so that no
// loader or library of that CPU has to be there, and has its symbols for profile.
func (c cpu) build(dir, server string) (string, error) {
	bin := filepath.Join(dir, server+"-"+c.name)
	if server == yardstick {
		return bin, c.compile(bin, nil, "servers/c/epoll.c")
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin, "./servers/evloop")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+c.goarch, "GOARM="+c.goarm)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", filepath.Base(bin), err, out)
	}
	return bin, nil
}

// compile has the C compiler of the CPU make bin.
func (c cpu) compile(bin string, stdin io.Reader, source ...string) error {
	words := append(c.cc[1:len(c.cc):len(c.cc)], "-O2", "-w", "-static", "-o", bin)
	cmd := exec.Command(c.cc[0], append(words, source...)...)
	cmd.Stdin = stdin
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", filepath.Base(bin), err, out)
	}
	return nil
}

// emulate is the command that runs a program on the CPU and counts into file.
func (c cpu) emulate(plugin, file string, program ...string) *exec.Cmd {
	words := append(c.qemu[1:len(c.qemu):len(c.qemu)], "-plugin",
		fmt.Sprintf("%s,counts=%s,wait=%d,wait=%d", plugin, file, c.waits[0], c.waits[1]))
	return exec.Command(c.qemu[0], append(words, program...)...)
}

// buildPlugin compiles insns.c for this machine.
func buildPlugin(dir string) (string, error) {
	so := filepath.Join(dir, "insns.so")
	if out, err := exec.Command("cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", so, "count/plugin/insns.c").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build plugin: %w\n%s", err, out)
	}
	return so, nil
}

// A server is one that runs on an emulated CPU.
type server struct {
	cmd     *exec.Cmd
	output  bytes.Buffer
	ended   chan struct{}
	err     error // of Wait, once ended is closed
	address string
}

// start runs a server in mode echo under the emulator, which counts into file.
func (c cpu) start(bin, plugin, file string) (*server, error) {
	// The port is free at this moment. The server says nothing about itself, so
	// it cannot be asked for one.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("choose address: %w", err)
	}
	s := &server{address: ln.Addr().String(), ended: make(chan struct{})}
	ln.Close()
	s.cmd = c.emulate(plugin, file, bin, "echo", "tcp", s.address)
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(bin), err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	return s, nil
}

// connect waits until the server listens.
func (s *server) connect() (net.Conn, error) {
	for deadline := time.Now().Add(grace); time.Now().Before(deadline); {
		c, err := net.Dial("tcp", s.address)
		if err == nil || !errors.Is(err, syscall.ECONNREFUSED) {
			return c, err
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("ended early: %w: %s", s.err, strings.TrimSpace(s.output.String()))
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("does not listen on %s after %v", s.address, grace)
}

func (s *server) stop() {
	s.cmd.Process.Kill() //nolint:errcheck // it may have ended by itself
	<-s.ended
}
