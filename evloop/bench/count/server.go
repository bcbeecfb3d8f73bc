// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
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
}

// cpus are in the order of the table. Debian's compiler for armhf makes nothing older
// than ARMv7, so that the C loop for ARMv6 is built by that for armel, whose library is
// built for ARMv5.
var cpus = []cpu{
	{"amd64", []string{"qemu-x86_64"}, []string{"x86_64-linux-gnu-gcc"}, "amd64", "", [2]int{232, 281}},
	{"armv7", []string{"qemu-arm", "-cpu", "cortex-a7"}, []string{"arm-linux-gnueabihf-gcc"}, "arm", "7", [2]int{252, 346}},
	{"armv6", []string{"qemu-arm", "-cpu", "arm1176"}, []string{"arm-linux-gnueabi-gcc", "-march=armv6"}, "arm", "6", [2]int{252, 346}},
}

// counts reports whether the emulator takes plugins. One that is linked statically, such as
// qemu-user of Debian 13, does not.
func (c cpu) counts() (bool, error) {
	help, err := exec.Command(c.qemu[0], "-help").Output()
	if err != nil {
		return false, fmt.Errorf("ask %s for its options: %w", c.qemu[0], err)
	}
	return bytes.Contains(help, []byte("-plugin")), nil
}

// build compiles a server of the bench for the CPU into dir. It is static, so that no
// loader or library of that CPU has to be there, and has its symbols for profile.
func (c cpu) build(dir, server string) (string, error) {
	bin := filepath.Join(dir, server+"-"+c.name)
	var cmd *exec.Cmd
	if server == yardstick {
		words := append(c.cc[1:len(c.cc):len(c.cc)], "-O2", "-w", "-static", "-o", bin, "servers/c/epoll.c")
		cmd = exec.Command(c.cc[0], words...)
	} else {
		cmd = exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", bin, "./servers/evloop")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+c.goarch, "GOARM="+c.goarm)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", filepath.Base(bin), err, out)
	}
	return bin, nil
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
	plugin = fmt.Sprintf("%s,counts=%s,wait=%d,wait=%d", plugin, file, c.waits[0], c.waits[1])
	words := append(c.qemu[1:len(c.qemu):len(c.qemu)], "-plugin", plugin, bin, "echo", "tcp", s.address)
	s.cmd = exec.Command(c.qemu[0], words...)
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
