// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"penstock/daemon/internal/text"
)

// The tables of keys. Those that every file or service may have are here; those of
// one kind are in kind_NAME.go. A row holds the name and a function that checks a
// value and stores it. Defaults are in defaults.go, rules about several keys in
// check.go.
//
// The alternative was reflection over struct tags. It would save a column, but a tag
// cannot hold the range of a number, so a second table would repeat the names.

// A key is a row; T is what it is stored in.
type key[T any] struct {
	name string
	set  func(*T, any) error
}

// into returns a setter: parse, then store where field points.
//
//go:noinline
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
	{"connections", into(func(l *Limits) *int { return &l.Connections }, integer(1, maxConnections))},
	{"per_source", into(func(l *Limits) *int { return &l.PerSource }, integer(0, maxConnections))},
	{"memory", into(func(l *Limits) *int64 { return &l.Memory }, size[int64](64*kib, 1<<40))},
	// At least a second: PID 1 gives up a socket whose service was started 20 times in
	// two seconds (TriggerLimitBurst= in systemd.socket(5)).
	{"exit_idle", into(func(l *Limits) *time.Duration { return &l.ExitIdle }, duration(true, time.Second, year))},
}

var logKeys = []key[Log]{
	{"level", into(func(l *Log) *slog.Level { return &l.Level }, level)},
	{"peers", into(func(l *Log) *Peers { return &l.Peers }, choice(PeersFull, PeersSubnet, PeersNone))},
}

var loopKeys = []key[Loop]{
	{"backend", into(func(l *Loop) *Backend { return &l.Backend }, choice(BackendEpoll, BackendIOUring, BackendAuto))},
}

// level checks the word by choice, because slog would also accept "WARN+2".
func level(v any) (slog.Level, error) {
	word, err := choice("debug", "info", "warn", "error")(v)
	if err != nil {
		return 0, err
	}
	var l slog.Level
	return l, l.UnmarshalText([]byte(word))
}

var commonKeys = []key[Service]{
	{"kind", into(func(s *Service) *Kind { return &s.Kind }, choice(Kinds()...))},
	{"listen", setListen},
	{"allow", into(func(s *Service) *Sources { return &s.Allow }, parseSources)},
	{"deny", into(func(s *Service) *Sources { return &s.Deny }, parseSources)},
	{"allow_uid", into(func(s *Service) *[]uint32 { return &s.AllowUID }, parseUIDs)},
	{"accept_proxy", into(func(s *Service) *Proxies { return &s.AcceptProxy }, parseProxies)},
	{"max_connections", into(func(s *Service) *int { return &s.MaxConnections }, integer(0, maxConnections))},
	{"per_source", into(func(s *Service) *int { return &s.PerSource }, integer(0, maxConnections))},
	{"idle_timeout", into(func(s *Service) *time.Duration { return &s.IdleTimeout }, timeout(year))},
	{"stall_timeout", into(func(s *Service) *time.Duration { return &s.StallTimeout }, timeout(year))},
	{"drain_timeout", into(func(s *Service) *time.Duration { return &s.DrainTimeout }, timeout(time.Hour))},
	{"persist", into(func(s *Service) *Persist { return &s.Persist }, choice(PersistRestart, PersistOff))},
	{"max_line", into(func(s *Service) *int { return &s.MaxLine }, size(1, LongestLine))},
	{"queue", into(func(s *Service) *int { return &s.Queue }, size(256, gib))},
	{"overflow", into(func(s *Service) *Overflow { return &s.Overflow }, choice(Pause, DropOldest, DropNewest, Disconnect))},
}

// timeout takes a duration; 0 switches the timeout off. Less than 10 ms is refused,
// because such a timer would measure the load of the machine and not the peer.
func timeout(limit time.Duration) func(any) (time.Duration, error) {
	return duration(true, 10*time.Millisecond, limit)
}

// atEOF is the row of at_eof, which every kind has whose clients send messages.
var atEOF = key[Service]{"at_eof", into(func(s *Service) *AtEOF { return &s.AtEOF }, choice(Take, Drop))}

// start is the row of start, which every kind has whose source says more than its clients
// hear.
var start = key[Service]{"start", into(func(s *Service) *Start { return &s.Start }, choice(StartBoot, StartClient))}

// longestDelimiter is in bytes.
const longestDelimiter = 16

// fileName takes a name as written. A setter does not know the folder of the
// configuration file, so files.go makes the path.
func fileName(v any) (string, error) {
	name, err := textUpTo(4096)(v)
	if err == nil && strings.ContainsFunc(name, text.IsControl) {
		err = fmt.Errorf("%q holds a control character", name)
	}
	return name, err
}

// setListen stores the valid addresses even if another one is wrong, so that they are
// still compared with those of other services.
func setListen(s *Service, v any) (err error) {
	s.Listen, err = addresses(v)
	return err
}
