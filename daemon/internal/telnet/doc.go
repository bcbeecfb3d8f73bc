// SPDX-License-Identifier: Apache-2.0

// Package telnet is what a client needs to set a serial line from afar: the escapes of
// TELNET (RFC 854), the agreement on options, and the option for a port (RFC 2217).
//
//	telnet.go   the stream: data, and what is escaped by the byte 255
//	options.go  what both sides have agreed on
//	port.go     requests about the line, and their answers
//
// All of it is pure: bytes in, bytes out. A decoder with a state was the alternative. Here
// the reader keeps what is not whole and asks again with more, as it does with lines, so
// nothing has to be carried over when a process hands its clients to the next.
package telnet
