// SPDX-License-Identifier: Apache-2.0

package config

import "errors"

// KindExec runs a program for each client.
const KindExec Kind = "exec"

// Exec runs a program for each client.
type Exec struct {
	Command     []string // Command[0] is an absolute path
	IO          IO
	MaxChildren int      // programs at once
	Env         []string // NAME=value
	Directory   string   // "": that of the daemon
}

// IO says what a program has as its standard input and output.
type IO string

// The values of the key "io".
const (
	IOPipes  IO = "pipes"  // the loop passes the bytes on
	IOSocket IO = "socket" // the client's connection itself
)

var execKind = kind{
	name: KindExec,
	keys: []key[Service]{
		{"command", own(func(k *Exec) *[]string { return &k.Command }, command)},
		{"io", own(func(k *Exec) *IO { return &k.IO }, choice(IOPipes, IOSocket))},
		{"max_children", own(func(k *Exec) *int { return &k.MaxChildren }, integer(1, 4096))},
		{"env", own(func(k *Exec) *[]string { return &k.Env }, environment)},
		{"directory", own(func(k *Exec) *string { return &k.Directory }, directory)},
	},
	defaults: func(s *Service) {
		listening(s) // what a program does with its client is not known here
		s.Of, s.Persist = &Exec{IO: IOPipes, MaxChildren: 32}, PersistOff
	},
	overflow: policies{Pause, map[Overflow]string{
		DropOldest: "bytes of a stream are never dropped",
		DropNewest: "bytes of a stream are never dropped",
	}},
	check:    checkExec,
	conns:    3, // the input, output and error output of one program
	files:    7, // these and its pidfd, and three for a moment as it is started: its own ends of them
	children: func(s *Service) int { return s.Of.(*Exec).MaxChildren },
	programs: func(s *Service) []string { return s.Of.(*Exec).Command[:1] }, // check has seen that there is one
	try:      say("hello"),
}

func checkExec(b *builder, d described) {
	if _, ok := d.at["command"]; !ok {
		b.wrong(d.where("command"), errors.New(`missing, want an array such as ["/usr/local/bin/program"]`))
	}
	if d.Persist != PersistOff {
		b.wrong(d.where("persist"), errors.New(`a program ends with the daemon, and its client with it; want "off"`))
	}
	if d.Of.(*Exec).IO != IOSocket {
		return
	}
	if !d.AcceptProxy.Empty() {
		b.wrong(d.where("accept_proxy"), errors.New(`the daemon reads the header, and perhaps the client's first bytes with it, which the program would miss; want io = "pipes"`))
	}
	for _, name := range []string{"idle_timeout", "stall_timeout", "queue", "overflow"} {
		if _, ok := d.at[name]; ok {
			b.warn(d.where(name), errors.New(`has no effect: with io = "socket" the daemon sees no bytes`))
		}
	}
}
