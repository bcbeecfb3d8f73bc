// SPDX-License-Identifier: Apache-2.0

// Package control is how another program speaks with a running daemon: the messages of
// Varlink, a client, and the interface penstock.Control with its types.
//
//	penstock status, penstock-web, …            penstock run
//	control.Client ──── JSON, ended by NUL ────► package daemon, control_*.go
//	                    codec.go                 a service of the event loop
//
// The interface is described in penstock.Control.varlink, which varlinkctl(1) and any
// other client can ask the daemon for. A test compares it with the types here and in
// package view.
//
// Varlink is what systemd's own programs speak, so varlinkctl drives the daemon, also
// over ssh. The alternatives were HTTP, whose library would double the daemon's memory,
// and a text protocol, for which every user would have to write a parser.
//
// The package knows neither the event loop nor the configuration: a companion that shows
// a daemon needs no more than this package and view.
package control
