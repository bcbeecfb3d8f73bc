// SPDX-License-Identifier: Apache-2.0

// Package device keeps a device open for as long as it is there, and joins it to the
// event loop. A device is a terminal line, a FIFO or another character device that can be
// polled.
//
//	life.go    where a device stands in its life: a pure step
//	device.go  the device itself: does what the steps ask for
//	open.go    how it is opened and set, and what is none
//	port.go    the open device, as a connection of the loop
//	control.go what is asked of a line in use
//	folders.go how its return is noticed
//
// Opening, setting and closing a device may take as long as a USB adapter takes to answer,
// or until its output is out. So a goroutine does each of them, one at a time. The last
// descriptor of a device is not the loop's but one of our own, so that the close that may
// wait is never the loop's, and it is closed at once when the device is gone: while
// anybody has it open, an adapter that is plugged in again gets another name.
package device
