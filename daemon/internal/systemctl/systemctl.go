// SPDX-License-Identifier: Apache-2.0

// Package systemctl asks the service manager about units and tells it what to
// do, by running systemctl(1).
//
// The manager's D-Bus interface was the alternative: it would save a few
// processes in a command that an administrator types a few times a year, for a
// D-Bus library in a daemon that must be small. systemctl also brings what the
// interface leaves to its user: it waits for jobs, and says why one failed.
package systemctl

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// A Unit is what the manager knows about a unit. Names and values are those of
// the properties, see org.freedesktop.systemd1(5).
type Unit struct {
	ID      string
	Load    string // LoadState: loaded, not-found, masked, ...
	Active  string // ActiveState: active, inactive, failed, ...
	Sub     string // SubState
	Result  string
	Listen  []string // stream sockets, spelled as in ListenStream=
	MainPID int      // of a service; 0: none
	Status  string   // StatusText
	User    string   // User= of a service
}

// properties are those of Unit.
const properties = "Id,LoadState,ActiveState,SubState,Result,Listen,MainPID,StatusText,User"

// Show returns the units of the given names or patterns, each once. A pattern
// stands for those that are loaded, a name that no file describes for a unit
// that is not-found.
func Show(names ...string) ([]Unit, error) {
	out, err := run(append([]string{"show", "-p", properties, "--"}, names...)...)
	if err != nil {
		return nil, err
	}
	var units []Unit
	seen := map[string]bool{}
	for block := range strings.SplitSeq(strings.TrimSpace(string(out)), "\n\n") {
		u := parse(block)
		if u.ID != "" && !seen[u.ID] {
			seen[u.ID] = true
			units = append(units, u)
		}
	}
	return units, nil
}

// ShowOne returns one unit. It need not exist: its Load is not-found then.
func ShowOne(name string) (Unit, error) {
	units, err := Show(name)
	if err != nil {
		return Unit{}, err
	}
	for _, u := range units {
		if u.ID == name {
			return u, nil
		}
	}
	return Unit{}, fmt.Errorf("systemctl show: no word about %s", name)
}

// Do runs a verb such as restart on units, waits until it is done and returns
// what systemctl says when it fails. Several units in one call become one
// transaction: the manager orders their stops and starts among each other,
// which a service and the sockets it is to be handed depend on.
func Do(verb string, units ...string) error {
	_, err := run(append([]string{verb, "--no-ask-password", "--"}, units...)...)
	return err
}

// Cat returns the files that describe a unit, drop-ins behind it, as they are
// on disk.
func Cat(name string) (string, error) {
	out, err := run("cat", "--", name)
	return string(out), err
}

// run returns what systemctl prints, or as an error what it complains of. It is
// looked up in PATH: distributions differ in where it is. Whoever calls may
// have a terminal, but neither a pager nor a question for a password has a
// place in the middle of an apply.
func run(args ...string) ([]byte, error) {
	cmd := exec.Command("systemctl", append([]string{"--no-pager"}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	if said := strings.TrimSpace(stderr.String()); said != "" {
		err = errors.New(said) // more than the exit status that err is
	}
	return nil, fmt.Errorf("systemctl %s: %w", args[0], err)
}

// parse reads the lines of one unit. Their order differs by version, a property
// that the unit's type does not have is left out, and Listen comes once for
// each address, with the kind of socket behind it.
func parse(block string) (u Unit) {
	texts := map[string]*string{
		"Id": &u.ID, "LoadState": &u.Load, "ActiveState": &u.Active, "SubState": &u.Sub, "Result": &u.Result,
		"StatusText": &u.Status, "User": &u.User,
	}
	for line := range strings.Lines(block) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch text := texts[key]; {
		case text != nil:
			*text = value
		case key == "MainPID":
			u.MainPID, _ = strconv.Atoi(value) // 0 where there is none
		case key == "Listen":
			if address, ok := strings.CutSuffix(value, " (Stream)"); ok {
				u.Listen = append(u.Listen, unescape(address))
			}
		}
	}
	return u
}

// unescape undoes the C escapes in which systemctl prints the path of a
// socket. What is no escape is left as it is.
func unescape(s string) string {
	var b strings.Builder
	for s != "" {
		if len(s) > 1 && s[0] == '\\' && (s[1] == '"' || s[1] == '\'') {
			b.WriteByte(s[1])
			s = s[2:]
			continue
		}
		r, multibyte, rest, err := strconv.UnquoteChar(s, 0)
		switch {
		case err != nil:
			b.WriteByte(s[0])
			rest = s[1:]
		case multibyte:
			b.WriteRune(r)
		default:
			b.WriteByte(byte(r)) // of an escaped byte, perhaps one of several of a letter
		}
		s = rest
	}
	return b.String()
}
