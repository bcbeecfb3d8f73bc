// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"penstock/daemon/internal/text"
	"penstock/daemon/internal/toml"
)

// The keys of every kind with a "command": what the program finds around it.

// environment takes a table of variables, as NAME=value in the order of their names.
func environment(v any) ([]string, error) {
	t, ok := v.(*toml.Table)
	if !ok {
		return nil, wrongType(v, `a table such as { TZ = "UTC" }`)
	}
	var out []string
	var errs problems
	for _, e := range t.All() {
		value, ok := e.Value.(string)
		_, reported := e.Value.(toml.Invalid)
		switch {
		case reported:
		case !ok:
			errs.add(lineError{e.Line, fmt.Errorf("%q %w", e.Name, wrongType(e.Value, "a string"))})
		case e.Name == "" || strings.ContainsFunc(e.Name, func(r rune) bool { return r == '=' || text.IsControl(r) }):
			errs.add(lineError{e.Line, fmt.Errorf("%q is not the name of a variable", e.Name)})
		case strings.Contains(value, "\x00"):
			errs.add(lineError{e.Line, fmt.Errorf("%q holds a zero byte, which no program can be given", e.Name)})
		}
		out = append(out, e.Name+"="+value)
	}
	if size := len(strings.Join(out, "\x00")); size > maxText {
		errs.add(fmt.Errorf("has %d bytes, more than %d", size, maxText))
	}
	slices.Sort(out)
	return out, errs.err()
}

// directory takes an absolute path, or "".
func directory(v any) (string, error) {
	path, err := fileName(v)
	if err == nil && path != "" && !strings.HasPrefix(path, "/") {
		err = errors.New("is not an absolute path")
	}
	return path, err
}
