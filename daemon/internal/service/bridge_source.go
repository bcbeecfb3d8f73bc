// SPDX-License-Identifier: Apache-2.0

package service

import (
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/device"
	"penstock/daemon/internal/process"
	"penstock/daemon/internal/tty"
	"penstock/daemon/internal/view"
)

// A source is where a bridge's bytes come from: a device or a program. What it says and
// how it fares it tells the bridge, unless a reload has put another in its place.
type source interface {
	Start()
	Stop(ended func())
	// Renew takes other keys, and reports whether they are for a source of this sort.
	Renew(conf *config.Service) bool
	// Offer gives it a message, if it takes one now.
	Offer(p []byte) verdict
	sourceState
}

// A sourceState is the rest of a source: what is asked and not said.
type sourceState interface {
	Hold(on bool) // wait with what it says
	// Suspend has it take what it has got, or end, and then calls ended.
	Suspend(timeout time.Duration, ended func())
	View() *view.Source
}

// A verdict is what became of a message.
type verdict uint8

const (
	taken verdict = iota
	full          // it waits: Proceed is called
	away          // there is nobody to take it
)

func newSource(b *bridge, conf *config.Service) source {
	if keys := conf.Of.(*config.Bridge); keys.Device == "" {
		s := &programSource{b: b, hears: keys.Write != config.WriteNone}
		s.program = process.New(keys.Command, b.loop, b.log, s)
		s.program.Around = surroundings(keys)
		s.program.Raw, s.program.Waits = s.raw, s.Proceed
		return s
	}
	s := &deviceSource{b: b}
	s.Device = device.New(deviceOptions(conf.Of.(*config.Bridge)), b.env.Folders, b.log, s)
	return s
}

// A deviceSource is a device. Up, Down, Data and Proceed are for device.User.
type deviceSource struct {
	*device.Device
	b *bridge
}

func deviceOptions(k *config.Bridge) device.Options {
	lines := map[string]tty.Line{"keep": tty.Keep, "on": tty.On, "off": tty.Off}
	return device.Options{
		Path: k.Device, Write: k.Write != config.WriteNone, Exclusive: k.Exclusive,
		TTY: tty.Settings{
			Speed: k.Speed, Bits: int(k.Mode[0] - '0'), Parity: tty.Parity(k.Mode[1]), Stop: int(k.Mode[2] - '0'),
			Flow: map[string]tty.Flow{"none": tty.NoFlow, "rtscts": tty.RTSCTS, "xonxoff": tty.XONXOFF}[k.Flow],
			DTR:  lines[k.DTR], RTS: lines[k.RTS], HangUp: k.HangUp,
			RS485: tty.RS485{
				Direction: map[string]tty.Direction{"off": tty.NoRS485, "rts-on-send": tty.RTSOnSend, "rts-after-send": tty.RTSAfterSend}[k.RS485],
				Before:    k.RS485Before, After: k.RS485After,
			},
			LowLatency: k.LowLatency,
		},
	}
}

func (s *deviceSource) mine() bool { return s.b.source == s }

func (s *deviceSource) Up() {
	if s.mine() {
		s.b.Up()
	}
}

func (s *deviceSource) Down() {
	if s.mine() {
		s.b.Down()
	}
}

func (s *deviceSource) Data(p []byte) {
	if s.mine() {
		s.b.fromSource(p)
	}
}

func (s *deviceSource) Proceed() {
	if s.mine() {
		s.b.Proceed()
	}
}

// Renew takes other settings.
func (s *deviceSource) Renew(conf *config.Service) bool {
	k := conf.Of.(*config.Bridge)
	if k.Device == "" {
		return false
	}
	if s.Device.Renew(deviceOptions(k)) {
		s.b.lostSource()
	}
	return true
}

// Offer writes to the device. What is written goes out in order and is never dropped, but
// with the device itself.
func (s *deviceSource) Offer(p []byte) verdict {
	switch {
	case s.Ready():
		s.Write(p)
		return taken
	case s.Takes():
		s.AwaitRoom()
		return full
	case s.Opening():
		return full
	}
	return away
}

// Hold has the device wait for a few turns of the loop.
func (s *deviceSource) Hold(on bool) {
	if on {
		s.PauseInput()
		return
	}
	s.ResumeInput()
}

// Suspend waits until the device has got what was written to it.
func (s *deviceSource) Suspend(timeout time.Duration, ended func()) { s.Flush(timeout, ended) }

// View returns what can be seen of the device.
func (s *deviceSource) View() *view.Source {
	in, out := s.Traffic()
	e := s.Errors()
	return &view.Source{
		Name: s.b.keys.Device, State: s.State(), Traffic: view.Traffic{In: in, Out: out},
		Unsent: s.Unsent(), Overrun: e.Overrun, Frame: e.Frame, Parity: e.Parity, Break: e.Break, Refused: s.Refused(),
	}
}

// A programSource is a program. Size, Proceed, Deliver, Overlong and Gone are for
// process.Audience.
type programSource struct {
	program *process.Program
	b       *bridge
	hears   bool         // clients write to it
	moved   view.Traffic // since its start
}

func (s *programSource) mine() bool { return s.b.source == s }

// Start starts the program and does not wait for it.
func (s *programSource) Start() { s.program.Start() }

// Stop ends the program.
func (s *programSource) Stop(ended func()) { s.program.Stop(ended) }

// Size is how many clients there are.
func (s *programSource) Size() int { return len(s.b.fan.members) }

// Proceed is called when the program takes input, or when one will not run for a while.
func (s *programSource) Proceed() {
	switch {
	case !s.mine():
	case s.program.Alive() && !s.b.up:
		s.b.Up()
	default:
		s.b.Proceed()
	}
}

// raw takes the program's output.
func (s *programSource) raw(p []byte) {
	if s.mine() {
		s.moved.In += uint64(len(p))
		s.b.fromSource(p)
	}
}

// Deliver and Overlong are not called: see raw.
func (*programSource) Deliver([]byte) {}

// Overlong is not called.
func (*programSource) Overlong([]byte, int) {}

// Gone is called when the program has ended and all its output was read.
func (s *programSource) Gone() (unanswered int) {
	s.moved = view.Traffic{}
	switch {
	case !s.mine():
	case s.program.Starting(): // a reload wants another one, which is no loss
		s.b.lostSource()
	default:
		s.b.Down()
	}
	return 0
}

// Renew takes another command.
func (s *programSource) Renew(conf *config.Service) bool {
	k := conf.Of.(*config.Bridge)
	if k.Device != "" {
		return false
	}
	s.program.Surround(surroundings(k))
	s.program.Renew(k.Command, s.grace(conf.DrainTimeout))
	s.hears = k.Write != config.WriteNone
	return true
}

// grace is how much of timeout the program has to answer what it has got. One that gets
// nothing owes nothing, and may never look at its input to find that it has ended.
func (s *programSource) grace(timeout time.Duration) time.Duration {
	if !s.hears {
		return 0
	}
	return timeout
}

func surroundings(k *config.Bridge) process.Surroundings {
	return process.Surroundings{Env: k.Env, Directory: k.Directory}
}

// Offer writes to the program's input.
func (s *programSource) Offer(p []byte) verdict {
	switch {
	case s.program.Ready():
		s.moved.Out += uint64(len(p))
		s.program.Write(p)
		return taken
	case s.program.Running() || s.program.Starting():
		return full
	}
	return away
}

// Hold has the program wait.
func (s *programSource) Hold(on bool) {
	if on {
		s.program.PauseOutput()
		return
	}
	s.program.ResumeOutput()
}

// Suspend ends the program, with the time to say what it has to say to its input.
func (s *programSource) Suspend(timeout time.Duration, ended func()) {
	s.program.StopWithin(s.grace(timeout), ended)
}

// View returns what can be seen of the program.
func (s *programSource) View() *view.Source {
	state := "absent"
	if s.program.Alive() {
		state = "up"
	}
	return &view.Source{Name: s.b.keys.Command[0], State: state, Traffic: s.moved}
}
