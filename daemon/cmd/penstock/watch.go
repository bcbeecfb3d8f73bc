// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/daemon/internal/control"
	escapes "penstock/daemon/internal/text"
	"penstock/daemon/internal/unit"
)

const aboutWatch = `Shows the log of the running daemon as it is written, that of SERVICE or all of it,
until it is interrupted. --level debug, info, warn or error is the lowest that is
shown; info without it. The level of the log itself stays what it is.
Which daemon: see penstock status -h.
`

var levelOption = option{"-level", "LEVEL"}

var errNotRunning = errors.New(unit.Service + " does not run")

// notRunning is what commands say that show nothing of sockets.
func (a ask) notRunning() error { return errNotRunning }

// clockText is a time of day, to the millisecond.
func clockText(t time.Time) string { return t.Local().Format("15:04:05.000") }

func watch(p process, c command, args []string) int {
	var level string
	a, status, ok := newAsk(p, c, args, func(flags *flag.FlagSet) { flags.StringVar(&level, levelOption.name(), "", "") })
	if !ok {
		return status
	}
	return a.answer(a.notRunning, func(client *control.Client) error {
		in := control.Watching{Level: level, Service: a.of}
		begun := a.begins()
		return client.Stream(control.Interface+".Watch", in, 0, func(p json.RawMessage) error {
			var got control.Events
			if err := json.Unmarshal(p, &got); err != nil {
				return err
			}
			begun()
			if err := a.missed(got.Missed, "record"); err != nil {
				return err
			}
			for i := range got.Events {
				if err := a.printEvent(&got.Events[i]); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// begins returns what says once that nothing that happens now is missed.
func (a ask) begins() func() {
	return sync.OnceFunc(func() { fmt.Fprintf(a.stderr, "penstock %s: begun, until it is interrupted\n", a.name) })
}

// missed says that the command was too slow, if it was.
func (a ask) missed(n uint64, what string) (err error) {
	switch {
	case n == 0:
	case a.json:
		err = a.printJSON(map[string]uint64{"missed": n})
	default:
		_, err = fmt.Fprintf(a.stdout, "* %s missed\n", plural(int(n), what))
	}
	return err
}

// printEvent prints a record on a line.
func (a ask) printEvent(e *control.Event) error {
	if a.json {
		return a.printJSON(e)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s", clockText(e.Time), e.Level, escapes.Escape(e.Message))
	for _, key := range slices.Sorted(maps.Keys(e.Fields)) {
		if key == "message_id" {
			continue // for the journal
		}
		value := escapes.Escape(e.Fields[key])
		if strings.ContainsAny(value, " \"=") || value == "" {
			value = fmt.Sprintf("%q", value)
		}
		fmt.Fprintf(&b, " %s=%s", key, value)
	}
	_, err := fmt.Fprintln(a.stdout, b.String())
	return err
}
