// SPDX-License-Identifier: Apache-2.0

// Package tty sets a terminal line, such as a serial port, by the kernel's own calls.
//
//	settings.go  speed, mode and flow control, set completely and read back
//	lines.go     DTR, RTS, RS-485, latency
//	control.go   the same of a line in use, its levels and its breaks
//	lock.go      one program at a time
//	counts.go    what the port has lost
//	call.go      how a driver is spoken to
//
// Everything is set, whatever was there: what another program has left behind, such as a
// read that returns nothing instead of waiting (VMIN 0), would otherwise decide. A driver
// may keep another value than it was given, and says so to nobody, so everything is read
// back. The libraries for serial ports were no choice: each brings its own way to wait,
// and gives no descriptor away for an event loop.
//
// The calls may block for as long as a USB adapter takes to answer. They are not for the
// goroutine of a loop; Count is.
package tty
