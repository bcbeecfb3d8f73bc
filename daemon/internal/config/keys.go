// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
)

// This is the one place that says which keys there are. A row holds the name,
// the kinds that have it and a function that checks a value and stores it;
// defaults are in defaults.go, rules about several keys in check.go.
//
// Reflection over struct tags would be shorter by a column, but could not say
// the range of a number or the kinds of a key, so that a second table would
// have to repeat the names.

// A key is a row; T is what it is stored in.
type key[T any] struct {
	name  string
	kinds []Kind // nil: every kind
	set   func(*T, any) error
}

// into returns a setter: parse, then store where field points.
func into[T, V any](field func(*T) *V, parse func(any) (V, error)) func(*T, any) error {
	return func(t *T, v any) error {
		parsed, err := parse(v)
		if err == nil {
			*field(t) = parsed
		}
		return err
	}
}

const (
	maxConnections = 1 << 20 // fs.nr_open of the kernel, the most a process can open
	maxText        = 64 * kib

	// LongestLine is the most that max_line can be: the loop keeps 64 KiB of a
	// client's input, and the longest delimiter has to fit behind the line.
	LongestLine = 64*kib - 64
	year        = 365 * 24 * time.Hour
)

var limitKeys = []key[Limits]{
	{"connections", nil, into(func(l *Limits) *int { return &l.Connections }, integer(1, maxConnections))},
	{"per_source", nil, into(func(l *Limits) *int { return &l.PerSource }, integer(0, maxConnections))},
	{"memory", nil, into(func(l *Limits) *int64 { return &l.Memory }, size[int64](64*kib, 1<<40))},
	// Not below a second: PID 1 gives a socket up whose service was started 20
	// times in two (TriggerLimitBurst= in systemd.socket(5)).
	{"exit_idle", nil, into(func(l *Limits) *time.Duration { return &l.ExitIdle }, duration(true, time.Second, year))},
}

var logKeys = []key[Log]{
	{"level", nil, into(func(l *Log) *slog.Level { return &l.Level }, level)},
	{"peers", nil, into(func(l *Log) *Peers { return &l.Peers }, choice(PeersFull, PeersSubnet, PeersNone))},
}

var loopKeys = []key[Loop]{
	{"backend", nil, into(func(l *Loop) *Backend { return &l.Backend }, choice(BackendEpoll, BackendIOUring, BackendAuto))},
}

// level goes through choice first: slog would also take "WARN+2".
func level(v any) (slog.Level, error) {
	word, err := choice("debug", "info", "warn", "error")(v)
	if err != nil {
		return 0, err
	}
	var l slog.Level
	return l, l.UnmarshalText([]byte(word))
}

// kinds in the order of the manual page.
var kinds = []Kind{
	KindLookup, KindEcho, KindTicker, KindHandler, KindRoom,
	KindDiscard, KindDaytime, KindTime, KindChargen, KindQOTD,
}

var serviceKeys = slices.Concat(commonKeys, socketKeys, lookupKeys, tickerKeys, handlerKeys, roomKeys)

var commonKeys = []key[Service]{
	{"kind", nil, into(func(s *Service) *Kind { return &s.Kind }, choice(kinds...))},
	{"listen", nil, setListen},
	{"allow", nil, into(func(s *Service) *Sources { return &s.Allow }, parseSources)},
	{"deny", nil, into(func(s *Service) *Sources { return &s.Deny }, parseSources)},
	{"allow_uid", nil, into(func(s *Service) *[]uint32 { return &s.AllowUID }, parseUIDs)},
	{"max_connections", nil, into(func(s *Service) *int { return &s.MaxConnections }, integer(0, maxConnections))},
	{"per_source", nil, into(func(s *Service) *int { return &s.PerSource }, integer(0, maxConnections))},
	{"idle_timeout", nil, into(func(s *Service) *time.Duration { return &s.IdleTimeout }, timeout(year))},
	{"stall_timeout", nil, into(func(s *Service) *time.Duration { return &s.StallTimeout }, timeout(year))},
	{"drain_timeout", nil, into(func(s *Service) *time.Duration { return &s.DrainTimeout }, timeout(time.Hour))},
	{"max_line", nil, into(func(s *Service) *int { return &s.MaxLine }, size(1, LongestLine))},
	{"queue", nil, into(func(s *Service) *int { return &s.Queue }, size(256, gib))},
	{"overflow", nil, into(func(s *Service) *Overflow { return &s.Overflow }, choice(Pause, DropOldest, DropNewest, Disconnect))},
}

// timeout is a duration where 0 switches it off. Below 10 ms a timer says
// more about the machine's load than about the peer.
func timeout(limit time.Duration) func(any) (time.Duration, error) {
	return duration(true, 10*time.Millisecond, limit)
}

var socketKeys = []key[Service]{
	{"backlog", nil, into(func(s *Service) *int { return &s.Backlog }, integer(1, 65535))},
	{"socket_mode", nil, func(s *Service, v any) (err error) { s.SocketMode, err = mode(v); return err }},
	{"socket_user", nil, into(func(s *Service) *string { return &s.SocketUser }, account)},
	{"socket_group", nil, into(func(s *Service) *string { return &s.SocketGroup }, account)},
	{"bind_device", nil, into(func(s *Service) *string { return &s.BindDevice }, device)},
	{"ip_allow", nil, into(func(s *Service) *[]string { return &s.IPAllow }, parseUnitSources)},
	{"ip_deny", nil, into(func(s *Service) *[]string { return &s.IPDeny }, parseUnitSources)},
}

// lookupKeys holds three rows that other kinds share.
var lookupKeys = []key[Service]{
	{"at_eof", []Kind{KindLookup, KindHandler, KindRoom}, into(func(s *Service) *AtEOF { return &s.AtEOF }, choice(Take, Drop))},
	{"delimiter", []Kind{KindLookup, KindHandler}, setDelimiter},
	{"answers", []Kind{KindLookup}, into(func(s *Service) *map[string]string { return &s.Lookup.Answers }, table)},
	{"file", []Kind{KindLookup, KindQOTD}, setFile},
	{"default", []Kind{KindLookup}, into(func(s *Service) *string { return &s.Lookup.Default }, text(maxText))},
	{"fold_case", []Kind{KindLookup}, into(func(s *Service) *bool { return &s.Lookup.FoldCase }, flag)},
}

var tickerKeys = []key[Service]{
	{"payload", []Kind{KindTicker}, into(func(s *Service) *string { return &s.Ticker.Payload }, filled(maxText))},
	{"interval", []Kind{KindTicker}, into(func(s *Service) *time.Duration { return &s.Ticker.Interval }, duration(false, 10*time.Millisecond, year))},
	{"log_input", []Kind{KindTicker}, into(func(s *Service) *bool { return &s.Ticker.LogInput }, flag)},
}

var handlerKeys = []key[Service]{
	{"command", []Kind{KindHandler}, into(func(s *Service) *[]string { return &s.Handler.Command }, command)},
	{"events", []Kind{KindHandler}, into(func(s *Service) *bool { return &s.Handler.Events }, flag)},
	{"error", []Kind{KindHandler}, into(func(s *Service) *string { return &s.Handler.Error }, text(maxText))},
}

var roomKeys = []key[Service]{
	{"preset", []Kind{KindRoom}, setPreset},
	{"welcome", []Kind{KindRoom}, into(func(s *Service) *string { return &s.Room.Welcome }, template)},
	{"message", []Kind{KindRoom}, into(func(s *Service) *string { return &s.Room.Message }, template)},
	{"join", []Kind{KindRoom}, into(func(s *Service) *string { return &s.Room.Join }, template)},
	{"leave", []Kind{KindRoom}, into(func(s *Service) *string { return &s.Room.Leave }, template)},
	{"history", []Kind{KindRoom}, into(func(s *Service) *int { return &s.Room.History }, integer(0, 10000))},
	{"echo_to_sender", []Kind{KindRoom}, into(func(s *Service) *bool { return &s.Room.EchoToSender }, flag)},
}

// setDelimiter refuses the empty string for lookup. A handler may have it, for
// programs written for whatever one recv(2) returned; a question cut in two
// would get two wrong answers.
func setDelimiter(s *Service, v any) (err error) {
	if s.Handler != nil {
		s.Handler.Delimiter, err = text(16)(v)
		return err
	}
	s.Lookup.Delimiter, err = filled(16)(v)
	return err
}

// setListen stores the addresses that can be read beside one that cannot, so
// that they are compared with those of other services all the same.
func setListen(s *Service, v any) (err error) {
	s.Listen, err = addresses(v)
	return err
}

// setFile stores the name as written; files.go resolves it against the folder
// of the configuration file, which a setter does not know.
func setFile(s *Service, v any) error {
	name, err := text(4096)(v)
	switch {
	case err != nil:
		return err
	case strings.ContainsFunc(name, isControl):
		return fmt.Errorf("%q holds a control character", name)
	case s.QOTD != nil:
		s.QOTD.File = name
	default:
		s.Lookup.File = name
	}
	return nil
}

// setPreset stores the texts along with the preset. It runs before the other
// keys of a room (see rank), so that each of them can be given differently.
func setPreset(s *Service, v any) error {
	p, err := choice(PresetNone, PresetTwisted, PresetSelectChat)(v)
	if err != nil {
		return err
	}
	r := presets[p]
	s.Room, s.MaxLine, s.AtEOF = &r, defaultLine, Take // a later file may take the preset back
	if p == PresetTwisted {
		s.MaxLine, s.AtEOF = twistedLine, Drop
	}
	return nil
}

// rank is the order in which the keys of a service are applied: those that
// decide about the defaults of others first.
func rank(name string) int {
	switch name {
	case "kind":
		return 0
	case "preset":
		return 1
	}
	return 2
}

// table takes a table of strings.
func table(v any) (map[string]string, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, wrongType(v, "a table of strings")
	}
	out := make(map[string]string, len(m))
	var errs []error
	for _, q := range slices.Sorted(maps.Keys(m)) { // sorted: the same mistakes every time
		s, ok := m[q].(string)
		if !ok {
			errs = append(errs, fmt.Errorf("%q %w", q, wrongType(m[q], "a string")))
		}
		out[q] = s
	}
	return out, errors.Join(errs...)
}

// command wants an absolute path: the daemon runs without a shell and, in
// its unit, without a PATH worth searching.
func command(v any) ([]string, error) {
	argv, err := texts(v)
	switch {
	case err != nil:
		return nil, err
	case len(argv) == 0:
		return nil, errors.New("is empty, want the path of a program and its arguments")
	case !strings.HasPrefix(argv[0], "/"):
		return nil, fmt.Errorf("%q is not an absolute path", argv[0])
	case strings.ContainsFunc(argv[0], isControl):
		return nil, fmt.Errorf("%q holds a control character", argv[0])
	case slices.ContainsFunc(argv, func(a string) bool { return strings.Contains(a, "\x00") }):
		return nil, errors.New("holds a zero byte, which no program can be given")
	}
	return argv, nil
}

// placeholders of the room's templates.
var placeholders = []string{"{name}", "{peer}", "{line}", "{count}"}

// template refuses words in braces that are not placeholders, for they would
// go out as they stand; other braces are text. A newline would let one
// template speak as two clients.
func template(v any) (string, error) {
	s, err := text(1024)(v)
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(s, func(r rune) bool { return isControl(r) && r != '\t' }) {
		return "", errors.New("holds a control character; a template is one line and its newline is added")
	}
	for rest := s; ; {
		i := strings.IndexByte(rest, '{')
		if i < 0 {
			return s, nil
		}
		rest = rest[i:]
		n := 1 + len(rest[1:]) - len(strings.TrimLeft(rest[1:], "abcdefghijklmnopqrstuvwxyz_"))
		if n > 1 && n < len(rest) && rest[n] == '}' && !slices.Contains(placeholders, rest[:n+1]) {
			return "", fmt.Errorf("%s is not one of %s", rest[:n+1], strings.Join(placeholders, " "))
		}
		rest = rest[1:]
	}
}
