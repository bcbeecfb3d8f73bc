// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/daemon/internal/toml"
)

// The functions here turn a decoded TOML value into what a key holds. Each
// has the form func(any) (T, error), so that the table of keys can name it,
// and says in its error what would have been right.
//
// Those that make such a function are not inlined, and neither are into and own: the
// compiler would copy what they return into each row of the tables, 78 KB in all.

// Units of sizes. Only the binary ones: a limit on memory that is 4.9 % off
// by a missing "i" is a trap.
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// typeName is what the TOML specification calls the type of v.
func typeName(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case []any:
		return "an array"
	case *toml.Table:
		return "a table"
	case toml.Tables:
		return "an array of tables"
	}
	return "a date or time"
}

// wrongType says which type is there and which should be, in the words of TOML. The
// author of a file need not know the types of Go.
func wrongType(v any, want string) error {
	return fmt.Errorf("is %s, want %s", typeName(v), want)
}

// integer takes a whole number in lo..hi. The range is part of the type here:
// a port or a count outside of it would wrap or be refused by the kernel much
// later, far from the line that says it.
//
//go:noinline
func integer(lo, hi int) func(any) (int, error) {
	return func(v any) (int, error) {
		n, ok := v.(int64)
		if !ok {
			return 0, wrongType(v, "an integer")
		}
		if n < int64(lo) || n > int64(hi) {
			return 0, fmt.Errorf("%d is not in %d..%d", n, lo, hi)
		}
		return int(n), nil
	}
}

// flag takes true or false, and no word or number that may stand for them.
func flag(v any) (bool, error) {
	b, ok := v.(bool)
	if !ok {
		return false, wrongType(v, "true or false")
	}
	return b, nil
}

// textUpTo takes a string of at most limit bytes.
//
//go:noinline
func textUpTo(limit int) func(any) (string, error) {
	return func(v any) (string, error) {
		s, ok := v.(string)
		if !ok {
			return "", wrongType(v, "a string")
		}
		if len(s) > limit {
			return "", fmt.Errorf("has %d bytes, more than %d", len(s), limit)
		}
		return s, nil
	}
}

// filled is text that may not be empty.
func filled(limit int) func(any) (string, error) {
	parse := textUpTo(limit)
	return func(v any) (string, error) {
		s, err := parse(v)
		if err == nil && s == "" {
			err = errors.New("is empty")
		}
		return s, err
	}
}

// texts takes an array of strings.
func texts(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, wrongType(v, "an array of strings")
	}
	out := make([]string, 0, len(list))
	var errs problems
	for i, e := range list {
		switch e := e.(type) {
		case string:
			out = append(out, e)
		case toml.Invalid:
		default:
			errs.add(fmt.Errorf("item %d %w", i+1, wrongType(e, "a string")))
		}
	}
	switch {
	case errs.err() != nil:
		return nil, errs.err()
	case len(out) == 0 && len(list) > 0:
		return nil, errReported
	}
	return out, nil
}

// errReported stands for a mistake that was reported already: the value could not be
// read at all.
var errReported = errors.New("reported before")

// choice takes one of a few words.
//
//go:noinline
func choice[T ~string](words ...T) func(any) (T, error) {
	return func(v any) (T, error) {
		s, ok := v.(string)
		if !ok {
			return "", wrongType(v, "a string")
		}
		if !slices.Contains(words, T(s)) {
			return "", fmt.Errorf("%q is not one of %s", s, quoted(words))
		}
		return T(s), nil
	}
}

func quoted[T ~string](words []T) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(string(w))
	}
	return strings.Join(out, ", ")
}

// duration takes a string such as "5m" (time.ParseDuration): 0, or at least
// lo, and not above hi.
//
//go:noinline
func duration(zero bool, lo, hi time.Duration) func(any) (time.Duration, error) {
	return func(v any) (time.Duration, error) {
		s, ok := v.(string)
		if n, isInt := v.(int64); isInt {
			return 0, fmt.Errorf(`is an integer, want a string with a unit such as "%ds"`, n)
		}
		if !ok {
			return 0, wrongType(v, `a string such as "5m"`)
		}
		d, err := time.ParseDuration(s)
		switch {
		case err != nil:
			return 0, fmt.Errorf(`%q is not a duration such as "90s", "5m" or "1h30m"`, s)
		case zero && d == 0:
			return 0, nil
		case d < lo || d > hi:
			return 0, fmt.Errorf("%s is not in %v..%v", s, lo, hi)
		}
		return d, nil
	}
}

// size takes bytes: an integer, or a string such as "64KiB".
//
//go:noinline
func size[T int | int64](lo, hi T) func(any) (T, error) {
	return func(v any) (T, error) {
		n, ok := v.(int64)
		if s, isText := v.(string); isText {
			var err error
			if n, err = parseSize(s); err != nil {
				return 0, err
			}
		} else if !ok {
			return 0, wrongType(v, `an integer or a string such as "64KiB"`)
		}
		if n < int64(lo) || n > int64(hi) {
			return 0, fmt.Errorf("%s is not in %s..%s", formatSize(n), formatSize(int64(lo)), formatSize(int64(hi)))
		}
		return T(n), nil
	}
}

// parseSize takes digits and a unit and nothing between them. The product is
// checked before it is made, for it could wrap to a small number.
func parseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGTiBkmgtb ")
	n, err := strconv.ParseUint(digits, 10, 63)
	unit := map[string]uint64{"": 1, "B": 1, "KiB": kib, "MiB": mib, "GiB": gib}[s[len(digits):]]
	if err != nil || unit == 0 || n > math.MaxInt64/unit {
		return 0, fmt.Errorf(`%q is not a size such as "512", "64KiB", "16MiB" or "1GiB"`, s)
	}
	return int64(n * unit), nil
}

// formatSize is the inverse of parseSize: the largest unit that leaves no rest.
func formatSize(n int64) string {
	for _, u := range []struct {
		unit int64
		name string
	}{{gib, "GiB"}, {mib, "MiB"}, {kib, "KiB"}} {
		if n != 0 && n%u.unit == 0 {
			return strconv.FormatInt(n/u.unit, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// mode takes the permissions of a socket, in octal. A number is refused,
// because TOML would read 660 as decimal.
func mode(v any) (fs.FileMode, error) {
	s, ok := v.(string)
	if !ok {
		return 0, wrongType(v, `a string such as "0660"`)
	}
	n, err := strconv.ParseUint(s, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf(`%q is not a mode such as "0660"`, s)
	}
	return fs.FileMode(n), nil
}

// account takes the name or number of a user or group, or "".
func account(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", wrongType(v, "a string")
	}
	if _, err := strconv.ParseUint(s, 10, 32); err == nil || s == "" {
		return s, nil
	}
	// What systemd's strict mode takes (systemd.io/USER_NAMES): ASCII, no
	// leading digit or dash, at most 31 bytes. It goes into a unit file.
	bad := func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}
	if len(s) > 31 || strings.ContainsFunc(s, bad) || s[0] == '-' || s[0] >= '0' && s[0] <= '9' {
		return "", fmt.Errorf("%q is not the name of a user or group", s)
	}
	return s, nil
}

// device takes the name of a network interface, or "".
func device(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", wrongType(v, "a string")
	}
	// systemd ignores the line for these, or takes * for "any", and the socket
	// would be open on all interfaces.
	if s == "*" || s == "all" || s == "default" || s != "" && strings.Trim(s, "0123456789") == "" {
		return "", fmt.Errorf("%q is not the name of a network interface", s)
	}
	if s == "" {
		return "", nil
	}
	return s, checkInterface(s)
}

// addresses takes the value of "listen".
func addresses(v any) ([]Address, error) {
	list, err := texts(v)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 || len(list) > maxListen {
		return nil, fmt.Errorf("has %d addresses, want 1 to %d", len(list), maxListen)
	}
	var out []Address
	var errs problems
	for _, s := range list {
		a, err := ParseAddress(s)
		if err != nil {
			errs.add(err)
			continue
		}
		out = append(out, a)
	}
	return out, errs.err()
}

// maxListen keeps one service from taking all descriptors there are.
const maxListen = 64
