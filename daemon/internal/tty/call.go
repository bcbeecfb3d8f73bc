// SPDX-License-Identifier: Apache-2.0

package tty

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctl is the one call by which this package speaks to a driver. Tests put a driver of
// their own there: no kernel has one with RS-485 for a test.
var ioctl = func(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}

func getTermios(fd int) (*unix.Termios, error) {
	t := new(unix.Termios)
	return t, ioctl(fd, unix.TCGETS2, unsafe.Pointer(t))
}

func setTermios(fd int, t *unix.Termios) error {
	return ioctl(fd, unix.TCSETS2, unsafe.Pointer(t))
}

// setInt passes the address of a number, as the calls about modem lines want it.
func setInt(fd int, request uint, n int) error {
	to := int32(n)
	return ioctl(fd, request, unsafe.Pointer(&to))
}

// getInt returns the number that the driver has written.
func getInt(fd int, request uint) (int, error) {
	var n int32
	err := ioctl(fd, request, unsafe.Pointer(&n))
	return int(n), err
}
