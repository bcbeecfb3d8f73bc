// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"penstock/daemon/internal/text"
)

// KindHandler passes messages to one program that all clients share.
const KindHandler Kind = "handler"

// Handler passes messages to one program shared by all clients.
type Handler struct {
	Command   []string // Command[0] is an absolute path
	Delimiter string   // ends a message; "" makes what has arrived one message
	Events    bool     // tell the program about open and close as well
	Error     string   // to each pending client when the program dies
	Env       []string // NAME=value, for the program
	Directory string   // its working folder; "": that of the daemon
}

var handlerKind = kind{
	name: KindHandler,
	keys: []key[Service]{
		// A program may be written for whatever one recv(2) returned: "".
		{"delimiter", own(func(k *Handler) *string { return &k.Delimiter }, textUpTo(longestDelimiter))},
		{"command", own(func(k *Handler) *[]string { return &k.Command }, command)},
		{"events", own(func(k *Handler) *bool { return &k.Events }, flag)},
		{"error", own(func(k *Handler) *string { return &k.Error }, textUpTo(maxText))},
		{"env", own(func(k *Handler) *[]string { return &k.Env }, environment)},
		{"directory", own(func(k *Handler) *string { return &k.Directory }, directory)},
		atEOF,
	},
	defaults: func(s *Service) {
		listening(s) // the program may speak to all at any time
		s.Of, s.AtEOF = &Handler{Delimiter: "\n"}, Take
	},
	overflow: policies{Disconnect, map[Overflow]string{
		Pause: "a client that does not read would stop the program for all",
	}},
	check:     checkHandler,
	delimiter: func(s *Service) string { return s.Of.(*Handler).Delimiter },
	conns:     3,                                                                // the program's input, output and error output
	files:     5,                                                                // these, and what starting and awaiting a process needs
	programs:  func(s *Service) []string { return s.Of.(*Handler).Command[:1] }, // check has seen that there is one,
	try:       say("hello"),
}

// command takes an absolute path and arguments. The daemon uses no shell, and in its
// unit PATH has little in it.
func command(v any) ([]string, error) {
	argv, err := texts(v)
	switch {
	case err != nil:
		return nil, err
	case len(argv) == 0:
		return nil, errors.New("is empty, want the path of a program and its arguments")
	case !strings.HasPrefix(argv[0], "/"):
		return nil, fmt.Errorf("%q is not an absolute path", argv[0])
	case strings.ContainsFunc(argv[0], text.IsControl):
		return nil, fmt.Errorf("%q holds a control character", argv[0])
	case slices.ContainsFunc(argv, func(a string) bool { return strings.Contains(a, "\x00") }):
		return nil, errors.New("holds a zero byte, which no program can be given")
	}
	return argv, nil
}

func checkHandler(b *builder, d described) {
	if _, ok := d.at["command"]; !ok {
		b.wrong(d.where("command"), errors.New(`missing, want an array such as ["/usr/local/bin/program"]`))
	}
	b.fits(d, "error", d.Of.(*Handler).Error)
}
