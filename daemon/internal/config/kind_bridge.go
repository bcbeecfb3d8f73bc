// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"penstock/daemon/internal/text"
)

// KindBridge joins one device or program to many clients.
const KindBridge Kind = "bridge"

// Bridge passes on what a source sends: a device or a program, exactly one of them.
type Bridge struct {
	Device  string   // an absolute path; "": the source is Command
	Command []string // Command[0] is an absolute path

	// Of a program.
	Env       []string // NAME=value
	Directory string   // "": that of the daemon

	// Of a device that is a terminal line.
	Speed      int
	Mode       string // bits, parity, stop bits: "8N1"
	Flow       string // "none", "rtscts" or "xonxoff"
	DTR, RTS   string // "keep", "on" or "off"
	HangUp     bool   // drop both at the close
	RS485      string // "off", "rts-on-send" or "rts-after-send"
	LowLatency bool
	Exclusive  bool // of any device: keep other programs from it

	// How long RTS waits around what is sent; whole milliseconds.
	RS485Before, RS485After time.Duration

	Delimiter string        // ends a message, both ways; "": what has come is one message
	Gap       time.Duration // without a delimiter: a pause ends a message of the source; 0: each read does
	History   int           // messages kept for newcomers
	Write     Write
	// Of transactions: the time in which a reply has to have ended, and the pause that ends
	// it; 0: a delimiter does, or without one the pause Gap.
	ReplyTimeout, ReplyGap time.Duration
	Absent                 Absent
	Telnet                 Telnet
	OnLoss                 OnLoss
	Banner                 string // to a newcomer, before all else; "": nothing
	Notice                 string // to the clients when the source goes and comes; "": nothing
}

// Write says whose messages reach the source of a bridge.
type Write string

// The values of the key "write".
const (
	WriteNone Write = "none" // nobody's: what clients send is ignored
	WriteAny  Write = "any"  // everybody's, in the order they come
	// WriteFirst has the first client that sends something hold the source until it leaves.
	WriteFirst Write = "first"
	// WriteTransaction has one message own the source until its reply ends.
	WriteTransaction Write = "transaction"
)

// Absent says what becomes of messages for a source that is not there.
type Absent string

// The values of the key "absent".
const (
	AbsentDrop  Absent = "drop"
	AbsentQueue Absent = "queue" // they wait for it, as many bytes of them as Service.Queue
)

// Telnet says what the clients of a bridge speak beside their messages.
type Telnet string

// The values of the key "telnet".
const (
	TelnetOff  Telnet = "off"     // nothing
	TelnetPort Telnet = "rfc2217" // TELNET with its option for a serial port
)

// OnLoss says what becomes of the clients when the source goes.
type OnLoss string

// The values of the key "on_loss".
const (
	LossKeep  OnLoss = "keep"  // they wait for it
	LossClose OnLoss = "close" // their connections end
)

var bridgeKind = kind{
	name: KindBridge,
	keys: []key[Service]{
		{"device", own(func(k *Bridge) *string { return &k.Device }, devicePath)},
		{"command", own(func(k *Bridge) *[]string { return &k.Command }, maybeCommand)},
		{"env", own(func(k *Bridge) *[]string { return &k.Env }, environment)},
		{"directory", own(func(k *Bridge) *string { return &k.Directory }, directory)},
		{"speed", own(func(k *Bridge) *int { return &k.Speed }, integer(1, 20_000_000))},
		{"mode", own(func(k *Bridge) *string { return &k.Mode }, lineMode)},
		{"flow", own(func(k *Bridge) *string { return &k.Flow }, choice("none", "rtscts", "xonxoff"))},
		{"dtr", own(func(k *Bridge) *string { return &k.DTR }, choice("keep", "on", "off"))},
		{"rts", own(func(k *Bridge) *string { return &k.RTS }, choice("keep", "on", "off"))},
		{"hangup", own(func(k *Bridge) *bool { return &k.HangUp }, flag)},
		{"rs485", own(func(k *Bridge) *string { return &k.RS485 }, choice("off", "rts-on-send", "rts-after-send"))},
		{"rs485_before", own(func(k *Bridge) *time.Duration { return &k.RS485Before }, milliseconds)},
		{"rs485_after", own(func(k *Bridge) *time.Duration { return &k.RS485After }, milliseconds)},
		{"low_latency", own(func(k *Bridge) *bool { return &k.LowLatency }, flag)},
		{"exclusive", own(func(k *Bridge) *bool { return &k.Exclusive }, flag)},
		{"delimiter", own(func(k *Bridge) *string { return &k.Delimiter }, textUpTo(longestDelimiter))},
		{"gap", own(func(k *Bridge) *time.Duration { return &k.Gap }, duration(true, time.Millisecond, time.Minute))},
		{"history", own(func(k *Bridge) *int { return &k.History }, integer(0, 10000))},
		{"write", own(func(k *Bridge) *Write { return &k.Write }, choice(WriteNone, WriteAny, WriteFirst, WriteTransaction))},
		{"reply_timeout", own(func(k *Bridge) *time.Duration { return &k.ReplyTimeout }, duration(false, time.Millisecond, 10*time.Minute))},
		{"reply_gap", own(func(k *Bridge) *time.Duration { return &k.ReplyGap }, duration(true, time.Millisecond, time.Minute))},
		{"absent", own(func(k *Bridge) *Absent { return &k.Absent }, choice(AbsentDrop, AbsentQueue))},
		{"telnet", own(func(k *Bridge) *Telnet { return &k.Telnet }, choice(TelnetOff, TelnetPort))},
		{"on_loss", own(func(k *Bridge) *OnLoss { return &k.OnLoss }, choice(LossKeep, LossClose))},
		{"banner", own(func(k *Bridge) *string { return &k.Banner }, templateOf(PlaceState))},
		{"notice", own(func(k *Bridge) *string { return &k.Notice }, templateOf(PlaceState))},
		atEOF,
		start,
		topics,
	},
	defaults: func(s *Service) {
		listening(s)
		s.Of, s.AtEOF, s.Start = bridgeDefaults(), Take, StartBoot
	},
	overflow: policies{DropOldest, map[Overflow]string{
		Pause: "nobody may stop the source",
	}},
	check:     checkBridge,
	delimiter: func(s *Service) string { return s.Of.(*Bridge).Delimiter },
	conns:     3, // of a program: its input, output and error output; of a device one
	files:     5, // these, and what starting and awaiting a process needs; of a device its duplicate, and its folders
	holds: func(s *Service) int64 {
		k := s.Of.(*Bridge)
		n := int64(k.History)
		n = min(n*int64(s.MaxLine), int64(s.HistoryBound())) + n*perEntry
		if k.Absent == AbsentQueue {
			n += int64(s.Queue)
		}
		return n
	},
	programs: func(s *Service) []string {
		if argv := s.Of.(*Bridge).Command; len(argv) > 0 {
			return argv[:1]
		}
		return nil
	},
	device: func(s *Service) (string, bool) {
		k := s.Of.(*Bridge)
		return k.Device, k.Write != WriteNone
	},
	try: func(s *Service, to string) string {
		if s.Of.(*Bridge).Write == WriteNone {
			return listenOnly(s, to)
		}
		return "nc " + to
	},
}

func bridgeDefaults() *Bridge {
	return &Bridge{
		Speed: 9600, Mode: "8N1", Flow: "none", DTR: "keep", RTS: "keep", RS485: "off", Exclusive: true,
		Delimiter: "\n", Write: WriteNone, ReplyTimeout: time.Second, Absent: AbsentDrop, Telnet: TelnetOff, OnLoss: LossKeep,
	}
}

// PlaceState is a placeholder of the key "notice": gone or back; and of "banner": up or
// absent.
const PlaceState = "{state}"

func checkBridge(b *builder, d described) {
	k := d.Of.(*Bridge)
	device, program := k.Device != "", len(k.Command) > 0
	switch {
	case !device && !program:
		if b.broken[d.Name] {
			return // it may be the one that is wrong
		}
		b.wrong(d.where("device"), errors.New(`missing, want the path of a device such as "/dev/ttyUSB0", or "command"`))
	case device && program:
		b.wrong(d.where("command"), errors.New("a bridge has one source, and there is a device already"))
	case program:
		k.warnOfDevice(b, d)
	}
	for name, set := range map[string]bool{"env": len(k.Env) > 0, "directory": k.Directory != ""} {
		if set && device {
			b.warn(d.where(name), errors.New("has no effect: the source is a device"))
		}
	}
	if k.Gap > 0 && k.Delimiter != "" {
		b.wrong(d.where("gap"), errors.New(`has no effect beside a delimiter, want delimiter = ""`))
	}
	k.checkReplies(b, d)
	b.fits(d, "banner", k.Banner)
	if k.Absent == AbsentQueue && k.Write == WriteNone {
		b.warn(d.where("absent"), errors.New(`has no effect with write = "none"`))
	}
	k.checkLine(b, d)
}

// checkLine checks the keys of a line.
func (k *Bridge) checkLine(b *builder, d described) {
	device := k.Device != ""
	if k.Telnet != TelnetOff && len(k.Command) > 0 {
		b.wrong(d.where("telnet"), errors.New("there is no line to set: the source is a program"))
	}
	for name, wait := range map[string]time.Duration{"rs485_before": k.RS485Before, "rs485_after": k.RS485After} {
		if wait > 0 && k.RS485 == "off" && device {
			b.wrong(d.where(name), errors.New(`has no effect without rs485, want rs485 = "rts-on-send" or "rts-after-send"`))
		}
	}
}

// checkReplies checks the keys of transactions.
func (k *Bridge) checkReplies(b *builder, d described) {
	if k.Write == WriteTransaction {
		if k.Delimiter == "" && k.Gap == 0 && k.ReplyGap == 0 {
			b.wrong(d.where("reply_gap"), errors.New(`missing: without a delimiter only a pause ends a reply, want reply_gap = "20ms" or a gap`))
		}
		return
	}
	for name, set := range map[string]bool{"reply_gap": k.ReplyGap != 0, "reply_timeout": k.ReplyTimeout != bridgeDefaults().ReplyTimeout} {
		if set {
			b.warn(d.where(name), errors.New(`has no effect without write = "transaction"`))
		}
	}
}

// warnOfDevice warns of keys of a device, since the source is a program.
func (k *Bridge) warnOfDevice(b *builder, d described) {
	preset := bridgeDefaults()
	for name, set := range map[string]bool{
		"speed": k.Speed != preset.Speed, "mode": k.Mode != preset.Mode, "flow": k.Flow != preset.Flow,
		"dtr": k.DTR != preset.DTR, "rts": k.RTS != preset.RTS, "hangup": k.HangUp != preset.HangUp, "rs485": k.RS485 != preset.RS485,
		"rs485_before": k.RS485Before > 0, "rs485_after": k.RS485After > 0,
		"low_latency": k.LowLatency != preset.LowLatency, "exclusive": k.Exclusive != preset.Exclusive,
	} {
		if set {
			b.warn(d.where(name), errors.New("has no effect: the source is a program"))
		}
	}
}

// milliseconds takes the delay of a driver, which counts in them and has at most 100.
func milliseconds(v any) (time.Duration, error) {
	d, err := duration(true, time.Millisecond, 100*time.Millisecond)(v)
	if err == nil && d%time.Millisecond != 0 {
		err = fmt.Errorf("%s is not a whole number of milliseconds", d)
	}
	return d, err
}

// maybeCommand takes a command, or none.
func maybeCommand(v any) ([]string, error) {
	if list, ok := v.([]any); ok && len(list) == 0 {
		return nil, nil
	}
	return command(v)
}

// devicePath takes the path of a device, or none.
func devicePath(v any) (string, error) {
	name, err := textUpTo(4096)(v)
	switch {
	case err != nil || name == "":
		return "", err
	case !path.IsAbs(name):
		return "", fmt.Errorf("%q is not an absolute path", name)
	case strings.ContainsFunc(name, text.IsControl):
		return "", fmt.Errorf("%q holds a control character", name)
	}
	return path.Clean(name), nil
}

// lineMode takes the bits, parity and stop bits of a byte on a line.
func lineMode(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", wrongType(v, `a string such as "8N1"`)
	}
	if len(s) != 3 || !strings.Contains("5678", s[:1]) || !strings.Contains("NEOMS", s[1:2]) || !strings.Contains("12", s[2:]) {
		return "", fmt.Errorf(`%q is not a mode such as "8N1", "7E1" or "8N2"`, s)
	}
	return s, nil
}
