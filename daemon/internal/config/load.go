// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// BuiltinText is what the daemon runs with when there is no file: one service
// of each kind on loopback, on the ports of the tutorials they come from.
//
//go:embed builtin.toml
var BuiltinText string

// BuiltinName stands for a file's name where BuiltinText is meant.
const BuiltinName = "builtin.toml"

// Builtin returns the configuration that BuiltinText describes.
func Builtin() *Config {
	c, err := Parse(BuiltinName, []byte(BuiltinText))
	if err != nil {
		panic(err) // part of the program, and tested
	}
	return c
}

// dropIns is the folder beside the main file whose *.toml are read after it.
const dropIns = "conf.d"

// maxFile bounds what is read of any one file, in case the name of a device
// or of somebody's database was given.
const maxFile = 16 * mib

// Load reads the file and then conf.d/*.toml in the same folder, in lexical
// order. A later file may add services and set keys again: the last one wins,
// key by key. An array or table, such as answers, is one key's value and is
// replaced as a whole.
//
// When the files can be read but are wrong, the error is an [Errors], and the
// Config beside it is not nil: it holds the services in which nothing was
// wrong, so that one bad drop-in need not take down what others describe. Run
// a daemon on it only knowingly. When the main file cannot be read the Config
// is nil and the error wraps the cause (errors.Is with fs.ErrNotExist).
func Load(path string) (*Config, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	b := newBuilder()
	b.parse(path, text)
	dir := filepath.Join(filepath.Dir(path), dropIns)
	names, err := listDropIns(dir)
	if err != nil {
		b.mistake(Mistake{File: dir, Problem: reason(err)})
	}
	for _, name := range names {
		text, err := readRegular(name)
		if err != nil {
			b.files = append(b.files, name)
			b.mistake(Mistake{File: name, Problem: reason(err)})
			continue
		}
		b.parse(name, text)
	}
	return b.finish()
}

// Parse reads a single text; name stands for its file in mistakes, and files
// it mentions are relative to the folder of name. Errors are those of Load.
func Parse(name string, text []byte) (*Config, error) {
	b := newBuilder()
	b.parse(name, text)
	return b.finish()
}

// listDropIns returns the drop-ins of dir in lexical order. Hidden files are
// what editors and package managers leave half written.
func listDropIns(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".toml") && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, err
}

// readRegular reads a file that another one names. It must be a regular file:
// to open a FIFO or a terminal may wait for ever, and a reload would with it.
func readRegular(name string) ([]byte, error) {
	if fi, err := os.Stat(name); err != nil {
		return nil, err
	} else if !fi.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is not a regular file")}
	}
	return readFile(name)
}

// readFile reads anything, so that a text can be checked from a pipe.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // read only: nothing to lose
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("is larger than %s", formatSize(maxFile))}
	}
	return text, err
}

// reason strips the path from an error, because a Mistake has it already.
func reason(err error) string {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return err.Error()
}

// A builder gathers what the files say and what is wrong with it.
type builder struct {
	files    []string
	entries  []entry
	mistakes Errors
	broken   map[string]bool // services with a mistake
}

func newBuilder() *builder { return &builder{broken: map[string]bool{}} }

func (b *builder) mistake(m Mistake) { b.mistakes = append(b.mistakes, m) }

// finish applies the entries to the defaults, then checks the whole.
func (b *builder) finish() (*Config, error) {
	c := defaults()
	for _, e := range b.entries {
		switch e.section {
		case "limits":
			apply(b, limitKeys, &c.Limits, e)
		case "log":
			apply(b, logKeys, &c.Log, e)
		case "loop":
			apply(b, loopKeys, &c.Loop, e)
		}
	}
	seen := map[string][]entry{}
	for _, e := range b.entries {
		if e.section == "service" {
			seen[e.service] = append(seen[e.service], e)
		}
	}
	var all []described
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		all = append(all, b.service(name, seen[name], c.Limits))
	}
	b.checkOverlaps(all)
	for _, d := range all {
		if !b.broken[d.Name] {
			c.Services = append(c.Services, d.Service)
		}
	}
	c.Files = b.files
	if len(b.mistakes) > 0 {
		return c, b.mistakes.sorted(b.files)
	}
	return c, nil
}

// A described is a service and where the files speak of it.
type described struct {
	*Service
	at map[string]entry // the last of each key; "" is the first header
}

// where returns the entry that key's value came from; when no file has the
// key, it names the key on the line of the service's header.
func (d described) where(key string) entry {
	e, ok := d.at[key]
	if !ok {
		e = d.at[""]
		e.key = key
	}
	return e
}

// service builds one service out of its entries. Without a known kind the
// keys that all kinds have are still checked.
func (b *builder) service(name string, entries []entry, limits Limits) described {
	d := described{at: map[string]entry{}}
	var kind Service // takes nothing but the kind
	for _, e := range entries {
		if _, ok := d.at[e.key]; !ok || e.key != "" {
			d.at[e.key] = e
		}
		if e.key == "kind" {
			b.applyTo(&kind, e)
		}
	}
	d.Service = newService(name, kind.Kind, limits)
	row := kind.Kind.row()
	slices.SortStableFunc(entries, func(x, y entry) int { return cmp.Compare(row.rank(x.key), row.rank(y.key)) })
	for _, e := range entries {
		if e.key != "kind" {
			b.applyTo(d.Service, e)
		}
	}
	b.check(d, limits)
	return d
}

// apply gives one entry's value to the key's setter. Every entry is applied,
// also one that a later file overrides, so that no mistake hides.
func apply[T any](b *builder, keys []key[T], t *T, e entry) {
	i := slices.IndexFunc(keys, func(k key[T]) bool { return k.name == e.key })
	if i < 0 {
		return // reported when it was read
	}
	if err := keys[i].set(t, e.value); err != nil {
		b.wrong(e, err)
	}
}

// applyTo is apply for a service, whose keys depend on its kind.
func (b *builder) applyTo(s *Service, e entry) {
	k, ok := s.Kind.row().key(e.key)
	if !ok {
		if of := having(e.key); len(of) > 0 && s.Kind != "" {
			b.wrong(e, fmt.Errorf("is a key of kind %s, and this is of kind %q", quoted(of), s.Kind))
		}
		return // an unknown key was reported when it was read
	}
	if err := k.set(s, e.value); err != nil {
		b.wrong(e, err)
	}
}

// wrong records one mistake for each error joined in err.
func (b *builder) wrong(e entry, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			b.wrong(e, one)
		}
		return
	}
	if e.service != "" {
		b.broken[e.service] = true
	}
	b.mistake(Mistake{File: e.file, Line: e.line(), Key: e.String(), Problem: err.Error()})
}
