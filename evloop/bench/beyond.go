// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"penstock/evloop/bench/load"
)

// beyond opens what is on the other side of the server: the listening socket of the server
// behind a relay, or the device of a bridge. It is there before the server starts, and the
// load gets it as a descriptor.
func (g *Rig) beyond(c Cell, o *load.Options) ([]*os.File, error) {
	const first = 3 // descriptor of the first file that a process is handed
	switch c.serverMode() {
	case load.Proxy:
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("open the server behind: %w", err)
		}
		defer ln.Close()
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			return nil, fmt.Errorf("open the server behind: %w", err)
		}
		g.behind, o.Behind = ln.Addr().String(), first
		return []*os.File{f}, nil
	case load.Bridge:
		master, slave, err := openPTY()
		if err != nil {
			return nil, fmt.Errorf("open the device: %w", err)
		}
		g.device, o.Source = slave.Name(), first
		// The slave stays open here, or the master would fail before the server opens it.
		return []*os.File{master, slave}, nil
	}
	return nil, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// openPTY returns a pseudo-terminal that passes on all bytes as they are. Its master does
// not block.
func openPTY() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: "/dev/ptmx", Err: err}
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		master.Close()
		return nil, nil, os.NewSyscallError("ioctl", err)
	}
	if slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		master.Close()
		return nil, nil, err
	}
	if err := raw(int(slave.Fd())); err != nil {
		closeAll([]*os.File{master, slave})
		return nil, nil, os.NewSyscallError("ioctl", err)
	}
	return master, slave, nil
}

// raw does what cfmakeraw(3) does.
func raw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}
