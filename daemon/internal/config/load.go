// SPDX-License-Identifier: Apache-2.0

package config

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sort"
	"strings"

	"penstock/daemon/internal/toml"
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

// Bounds of what is read. They are for a wrong file name, such as that of a database,
// and they bound the work on a small board.
const (
	maxFile = 16 * mib // each
	// maxAll is for the main file and the drop-ins together. 0.1.0 had no such bound
	// and needed 21 bytes of memory for each byte of the files.
	maxAll = 64 * mib
	// usualFile is more than anybody writes by hand. A larger file takes seconds to
	// read on a small board, and gets a warning.
	usualFile = 1 * mib
	// portion is read between two pauses.
	portion = 64 * kib
	// spareRead is beyond the size of a file, whose end is found with the same read so.
	spareRead = 512
)

// A Loader says how files are read; the zero value is what Load does.
type Loader struct {
	// Sockets skips the files that services name, for a caller that needs only the
	// sockets and has little time.
	Sockets bool
	// Pipe lets the main file be a pipe. Opening a pipe may block forever.
	Pipe bool
	// Pause is called often while files are read and checked, at least every
	// few kilobytes. When it returns an error the reading ends, and Load
	// returns that error. nil: not needed.
	Pause func() error
	// Read is called with the name and the text of each file that was read: the
	// main file, drop-ins, then those that services name. nil: not needed.
	Read func(name, text string, named bool)
}

// Load is Loader.Load of the zero Loader.
func Load(path string) (*Config, error) { return Loader{}.Load(path) }

// Load reads the file and then conf.d/*.toml in the same folder, in lexical
// order. A later file may add services and set keys again: the last one wins,
// key by key. An array or table, such as answers, is one key's value and is
// replaced as a whole.
//
// If the files can be read but have mistakes, the error is an [Errors] and the Config
// is not nil: it holds the services without a mistake, so that one bad drop-in need
// not take down the services of other files. A caller that uses this Config must know
// that it is not complete. Files without any service and an empty file are mistakes
// too, see [ErrNothing]. If the main file cannot be read, the Config is nil and the
// error wraps the cause (errors.Is with fs.ErrNotExist).
func (l Loader) Load(path string) (*Config, error) {
	text, err := readMain(path, l.Pipe, l.Pause)
	if err != nil {
		return nil, fmt.Errorf("load configuration: %w", err)
	}
	b := newBuilder(l)
	b.addFile(path, text)
	dir := filepath.Join(filepath.Dir(path), dropIns)
	names, err := listDropIns(dir)
	if err != nil {
		b.mistake(Mistake{File: dir, Problem: reason(err)})
	}
	left := maxAll - len(text)
	for _, name := range names {
		text, err := readFile(name, min(maxFile, left), false, b.rest)
		if err != nil {
			b.files = append(b.files, name)
			b.unread()
			b.mistake(Mistake{File: name, Problem: reason(err)})
			continue
		}
		left -= len(text)
		b.addFile(name, text)
	}
	return b.finish()
}

// addFile takes the main file or a drop-in.
func (b *builder) addFile(name, text string) {
	if len(text) > usualFile {
		b.warnings.add(Mistake{File: name, Problem: "is larger than " + formatSize(usualFile) + ", which every start and reload has to read"})
	}
	if b.Read != nil {
		b.Read(name, text, false)
	}
	b.parse(name, text)
}

// Parse reads a single text; name stands for its file in mistakes, and files
// it mentions are relative to the folder of name. Errors are those of Load.
func Parse(name string, text []byte) (*Config, error) {
	b := newBuilder(Loader{})
	b.parse(name, string(text))
	return b.finish()
}

// readFile reads a regular file of at most limit bytes. It looks at the kind of the
// file first: opening a FIFO or a terminal may block forever, and opening a device may
// have other effects.
func readFile(name string, limit int, pipe bool, pause func() error) (string, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !fi.Mode().IsRegular() && (!pipe || fi.Mode().Type() != fs.ModeNamedPipe) {
		return "", &fs.PathError{Op: "read", Path: name, Err: errors.New("is not a regular file")}
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close() // read only: nothing to lose
	var text strings.Builder
	text.Grow(int(min(fi.Size(), int64(limit))) + 1)
	// Not a portion each time: that fits on the stack, which would grow to twice that at
	// every start, for a file of some kilobytes. A pipe does not say its size.
	size := int64(portion)
	if fi.Size() > 0 {
		size = min(fi.Size()+spareRead, portion)
	}
	buf := make([]byte, size)
	for text.Len() <= limit {
		n, err := f.Read(buf)
		text.Write(buf[:n])
		if err == nil && pause != nil {
			err = pause()
		}
		if err == io.EOF {
			return text.String(), nil
		}
		if err != nil {
			return text.String(), err
		}
	}
	return text.String(), &fs.PathError{Op: "read", Path: name, Err: tooLarge(limit)}
}

func tooLarge(limit int) error {
	if limit < maxFile {
		return fmt.Errorf("is too large: all files together may have %s", formatSize(maxAll))
	}
	return fmt.Errorf("is larger than %s", formatSize(int64(limit)))
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
	Loader
	kept      map[string]string // texts of files, instead of those on the disk; nil: none
	files     []string
	entries   []entry
	mistakes  found
	warnings  found
	broken    map[string]bool // services with a mistake
	web, mqtt apart
	named     map[string]bool // services of all files
	gaveUp    error           // of Pause
	percent   int             // of the garbage collector, to be set again; 0: it was not changed
}

func newBuilder(l Loader) *builder {
	return &builder{Loader: l, broken: map[string]bool{}, named: map[string]bool{}}
}

// rest calls Pause. An error that it returns ends the reading.
func (b *builder) rest() error {
	if b.gaveUp == nil && b.Pause != nil {
		b.gaveUp = b.Pause()
	}
	return b.gaveUp
}

// collectOften is called when a large text is read. What is made of it is several times
// as large, and the heap may otherwise grow to twice that before garbage is collected,
// which is much on a board with 512 MB. finish ends it.
func (b *builder) collectOften() {
	const often = 20 // percent
	if b.percent != 0 {
		return
	}
	if b.percent = debug.SetGCPercent(often); b.percent < often { // as the user wants it
		debug.SetGCPercent(b.percent)
	}
}

// finish sets the keys of the entries over the defaults, then checks the whole.
func (b *builder) finish() (*Config, error) {
	defer func() {
		if b.percent != 0 {
			debug.SetGCPercent(b.percent)
		}
	}()
	c := defaults()
	tables := b.sort(c)
	if len(tables) == 0 && b.mistakes.count() == 0 {
		b.mistake(Mistake{File: b.files[0], Problem: ErrNothing.Error(), nothing: true})
	}
	var all []described
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if b.rest() != nil {
			break
		}
		all = append(all, b.service(name, tables[name], c.Limits))
	}
	if b.gaveUp != nil {
		return nil, fmt.Errorf("load configuration: %w", b.gaveUp)
	}
	b.checkOverlaps(b.withWeb(c, all))
	b.checkDevices(all)
	b.withMQTT(c, all)
	b.dropBroken(c)
	for _, d := range all {
		if !b.broken[d.Name] {
			c.Services = append(c.Services, d.Service)
		}
	}
	b.checkIdle(c)
	c.Files = b.files
	c.Warnings = b.warned()
	if b.mistakes.count() > 0 {
		return c, Errors(b.mistakes.sorted(b.files))
	}
	return c, nil
}

// sort gives the entries of the other tables to c, and returns those of services
// by name: their defaults depend on the limits.
func (b *builder) sort(c *Config) map[string][]entry {
	services := map[string][]entry{}
	for i, e := range b.entries {
		if i%64 == 0 && b.rest() != nil {
			break
		}
		switch e.section {
		case "limits":
			setKey(b, limitKeys, &c.Limits, e)
		case "log":
			setKey(b, logKeys, &c.Log, e)
		case "loop":
			setKey(b, loopKeys, &c.Loop, e)
		case "control":
			setKey(b, controlKeys, &c.Control, e)
			b.warnAdmins(c, e)
		case "web":
			b.web.entries = append(b.web.entries, e)
		case "mqtt":
			b.mqtt.entries = append(b.mqtt.entries, e)
		case "service":
			services[e.service] = append(services[e.service], e)
		}
	}
	return services
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

// service builds one service from its entries. If the kind is unknown, the keys that
// all kinds have are still checked.
func (b *builder) service(name string, entries []entry, limits Limits) described {
	d := described{at: map[string]entry{}}
	var kind Service // takes nothing but the kind
	for _, e := range entries {
		if _, ok := d.at[e.key]; !ok || e.key != "" {
			d.at[e.key] = e
		}
		if e.key == "kind" {
			b.setServiceKey(&kind, e)
		}
	}
	d.Service = newService(name, kind.Kind, limits)
	row := kind.Kind.row()
	if row.leads != "" {
		// Package slices would bring another copy of the code, for this type.
		sort.SliceStable(entries, func(i, j int) bool { return row.rank(entries[i].key) < row.rank(entries[j].key) })
	}
	for _, e := range entries {
		if e.key != "kind" {
			b.setServiceKey(d.Service, e)
		}
	}
	b.check(d, limits)
	return d
}

// setKey sets the key of an entry that is not of a service. An unknown key was
// reported when it was read.
func setKey[T any](b *builder, keys []key[T], t *T, e entry) {
	if i := slices.IndexFunc(keys, func(k key[T]) bool { return k.name == e.key }); i >= 0 {
		set(b, keys[i], t, e)
	}
}

// setServiceKey sets the key of an entry of s. Which keys s has depends on its kind.
func (b *builder) setServiceKey(s *Service, e entry) {
	k, ok := s.Kind.row().key(e.key)
	if !ok {
		if of := having(e.key); len(of) > 0 && s.Kind != "" {
			b.wrong(e, fmt.Errorf("is a key of kind %s, and this is of kind %q", quoted(of), s.Kind))
		}
		return // an unknown key was reported when it was read
	}
	set(b, k, s, e)
}

// set gives the value of e to k's setter. That is done for every entry, also for one
// that a later file overrides, so that no mistake hides.
func set[T any](b *builder, k key[T], t *T, e entry) {
	if _, reported := e.value.(toml.Invalid); reported {
		return
	}
	if err := k.set(t, e.value); err != nil {
		b.wrong(e, err)
	}
}

// wrong records a mistake, or several if err is of type [problems]. Its line is that
// of e, unless the error has its own.
func (b *builder) wrong(e entry, err error) {
	if several, ok := err.(*problems); ok {
		for _, one := range several.errs {
			b.wrong(e, one)
		}
		b.mistakes.more += several.more
		return
	}
	b.spoil(e)
	if err == errReported {
		return
	}
	line := e.line
	if own, ok := err.(lineError); ok {
		line = own.line
	}
	b.mistake(Mistake{File: e.file, Line: line, Key: e.String(), Problem: err.Error()})
}

// spoil notes that what e belongs to has a mistake.
func (b *builder) spoil(e entry) {
	switch e.section {
	case "service":
		b.broken[e.service] = true
	case "web":
		b.web.broken = true
	case "mqtt":
		b.mqtt.broken = true
	}
}

// warn records that e has another effect than it says.
func (b *builder) warn(e entry, what error) {
	b.warnings.add(Mistake{File: e.file, Line: e.line, Key: e.String(), Problem: what.Error()})
}

// A lineError is a mistake in a part of a value that has a line of its own.
type lineError struct {
	line int
	error
}
