// SPDX-License-Identifier: Apache-2.0

package device

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/report"
	"penstock/daemon/internal/tty"
	"penstock/evloop"
)

// Options say what is opened, and how.
type Options struct {
	Path      string
	Write     bool // for output as well
	Exclusive bool // keep other programs from it
	TTY       tty.Settings
}

// A User is what a device works for. Loop goroutine only.
type User interface {
	Up()           // the device is open
	Down()         // it is gone, or was not opened
	Data(p []byte) // bytes that it has sent; valid during the call
	Proceed()      // it takes output again; see AwaitRoom
}

// Times are the waits in a device's life. Tests make them shorter.
type Times struct {
	First, Most time.Duration // until the next attempt, doubled each time
	Soon        time.Duration // after a change in its folder: several come at once
	Stable      time.Duration // after so long a life the wait begins at First again
	Room        time.Duration // between two looks at a device that takes no more output
	Flush       time.Duration // for output, when it is closed in order
	Sent        time.Duration // for output, before the line is set otherwise
}

// A Device is kept open while it is there. Loop goroutine only.
type Device struct {
	// Times may be changed before Start.
	Times Times

	loop *evloop.Loop
	log  *report.Service
	user User

	life   life
	filed  Options      // as New or Renew was told
	wanted Options      // of the next attempt: the same, but for Set
	now    openDevice   // that is in the loop, or about to be; fd -1: none
	conn   *evloop.Conn // a duplicate of now.fd
	began  evloop.Time
	wait   time.Duration
	timer  evloop.TimerID // of the state absent
	room   evloop.TimerID // while somebody waits for room
	jam    jam            // that Control has met
	handed bool           // the next process reads from it
	over   func()

	folders *Folders
	way     way  // not known before the first attempt
	changed bool // something on it has
	looking bool // whether the device still has its name
	anew    bool // its folder has changed since the look began

	failure error
	said    string // the failure that was logged last; "": none since it was up
	told    bool   // of the open device

	outdated bool // now is from the former process, and is only to be closed

	first   tty.Saved // how the line firstOf was set before we first opened it
	firstOf identity

	counted tty.Counts  // what the driver of the line said last
	errors  tty.Counts  // all that it said since the service began
	looked  evloop.Time // when it was last asked

	unsent uint64 // bytes that were written and have not left the port, nor will
}

// New returns a device that is not open yet, for the loop of folders, which its other
// devices share.
func New(o Options, folders *Folders, log *report.Service, user User) *Device {
	return &Device{
		loop: folders.loop, log: log, user: user, filed: o, wanted: o,
		Times: Times{
			First: 250 * time.Millisecond, Most: 10 * time.Second, Soon: 20 * time.Millisecond,
			Stable: 10 * time.Second, Room: 10 * time.Millisecond, Flush: 2 * time.Second, Sent: time.Second,
		},
		now: openDevice{fd: -1}, folders: folders,
	}
}

// Start has the device opened, and does not wait for it.
func (d *Device) Start() {
	if d.life.state != idle {
		return
	}
	d.folders.join(d)
	if d.now.fd >= 0 {
		d.goOn()
		return
	}
	d.advance(start)
}

// Stop closes the device, after what was written to it, and gives a line its settings
// back. ended is called when that is done. It may be called again, and when the loop is
// closed, after which nothing is waited for.
func (d *Device) Stop(ended func()) {
	if !d.loop.Post(func() {}) {
		d.life = life{state: over, unwanted: true}
		d.folders.leave(d, false)
		d.forget()
	}
	switch before := d.over; {
	case d.life.state == over:
		ended()
		return
	case before == nil:
		d.over = ended
	default:
		d.over = func() {
			before()
			ended()
		}
	}
	d.advance(stop)
}

// Renew takes other options, and reports whether they are others. A device that is open is
// closed then and opened anew; that it is not there meanwhile is told only if it does not
// come again.
func (d *Device) Renew(o Options) bool {
	if o == d.filed {
		return false
	}
	d.filed, d.wanted, d.said = o, o, ""
	d.advance(renew)
	return true
}

// Opening reports whether it is not known yet whether the device is there.
func (d *Device) Opening() bool {
	return d.life.state == idle || d.life.stale || d.life.state == opening && d.said == ""
}

// Up reports whether the device is open.
func (d *Device) Up() bool { return d.life.state == up && d.conn != nil && !d.conn.Closing() }

// Takes reports whether the device is open for output.
func (d *Device) Takes() bool { return d.Up() && d.now.write }

// roomFor is how much output may wait for the device: a second of a slow line. More would
// only be late.
const roomFor = 4 << 10

// Ready reports whether the device takes output now.
func (d *Device) Ready() bool { return d.Takes() && d.conn.Queued() < roomFor }

// Write sends p to a device that is ready.
func (d *Device) Write(p []byte) { d.conn.Write(p) }

// AwaitRoom has Proceed called when the device takes output again. The loop tells only of
// queues that were full to their bound, and one that is, is not read from either, which
// must not happen to a device.
//
// The first look is in the next turn: most often the kernel takes at once what is written
// in this one.
func (d *Device) AwaitRoom() {
	if d.room.IsZero() {
		d.lookForRoom(0)
	}
}

func (d *Device) lookForRoom(after time.Duration) {
	d.room = d.loop.Schedule(evloop.Timer{Deadline: d.loop.Now().Add(after), Kind: timerRoom, Handler: d})
}

// PauseInput has the device wait with what it says until ResumeInput.
func (d *Device) PauseInput() {
	if d.conn != nil {
		d.conn.Pause()
	}
}

// ResumeInput goes on to read, unless Hand was called.
func (d *Device) ResumeInput() {
	if d.conn != nil && !d.handed {
		d.conn.Resume()
	}
}

// State is the word for where the device stands.
func (d *Device) State() string { return d.life.state.String() }

// Refused says which settings the open device has otherwise. After a restart that is without
// levels of DTR and RTS that it could not take.
func (d *Device) Refused() string {
	var list []string
	for _, r := range d.now.refused {
		list = append(list, r.Setting+"="+r.Got)
	}
	return strings.Join(list, " ")
}

// Traffic returns how many bytes went each way since the device was opened.
func (d *Device) Traffic() (in, out uint64) {
	if d.conn == nil {
		return 0, 0
	}
	return d.conn.BytesIn(), d.conn.BytesOut()
}

// Unsent returns how many bytes were written and never left the port: the device went, or
// it was closed after Times.Flush, at a stop or for other settings.
func (d *Device) Unsent() uint64 { return d.unsent }

// Kinds of timers.
const (
	timerWait = iota
	timerRoom
)

// Expired goes on with the device's life, or looks for room.
func (d *Device) Expired(_ *evloop.Loop, t evloop.Timer) {
	switch {
	case t.Kind == timerWait:
		d.advance(due)
	case d.Takes() && !d.Ready():
		d.lookForRoom(d.Times.Room)
	default:
		d.room = evloop.TimerID{}
		d.user.Proceed()
	}
}

// advance takes a step of the life and carries out its effects.
func (d *Device) advance(t trigger) {
	next, do := step(d.life, t)
	d.life = next
	if do&doOpen != 0 {
		d.open()
	}
	if do&doAdopt != 0 && !d.adopt() {
		return // it has taken the next step
	}
	if do&doTell != 0 {
		d.tell()
	}
	if do&doLook != 0 {
		d.look()
	}
	if do&doMiss != 0 {
		d.miss(t)
	}
	if do&doClose != 0 {
		d.close()
	}
	if do&doComplain != 0 {
		d.complain()
	}
	if do&(doWait|doSoon) != 0 {
		d.again(do)
	}
	if do&doEnd != 0 {
		d.end()
	}
}

// open has a goroutine open the device.
func (d *Device) open() {
	d.loop.Cancel(d.timer)
	o, watch := d.wanted, d.folders.fd
	d.folders.adding++
	go func() {
		r := open(o, watch)
		d.loop.PostOr(func() { d.tried(r) }, func() {
			if r.fd >= 0 {
				_ = unix.Close(r.fd)
			}
			d.folders.abandoned()
		})
	}()
}

// tried is called on the loop with the result of open.
func (d *Device) tried(r openDevice) {
	d.folders.added(d, r.way)
	if r.err != nil {
		d.failure = r.err
		d.advance(failed)
		return
	}
	if r.is == d.firstOf { // it was set by us since
		r.before = d.first
	}
	d.first, d.firstOf = r.before, r.is
	d.now = r
	d.advance(opened)
}

// tell says that the device is up.
func (d *Device) tell() {
	d.log.DeviceOpened(d.now.path)
	for _, r := range d.now.refused {
		d.log.SettingRefused(d.now.path, r.Setting, r.Asked, r.Got)
	}
	d.said, d.told = "", true
	d.user.Up()
}

// miss says that it is not any more.
func (d *Device) miss(t trigger) {
	ran := d.loop.Now().Sub(d.began)
	if ran >= d.Times.Stable {
		d.wait = 0
	}
	if t == gone && !d.told {
		d.complain()
		return
	}
	d.told = false
	if t == gone {
		d.firstOf = identity{}
		d.log.DeviceGone(d.now.path, d.failure, ran)
		d.user.Down()
	}
}

// complain says why the device was not opened, if that is news.
func (d *Device) complain() {
	if text := d.failure.Error(); text != d.said {
		d.said = text
		d.log.DeviceNotOpened(d.wanted.Path, d.failure)
	}
	d.user.Down()
}

// again sets the timer of the state absent. A change in the folder does not make an
// attempt of its own that is due earlier come later.
func (d *Device) again(do effect) {
	d.loop.Cancel(d.timer)
	after := d.Times.Soon
	if do&doWait != 0 {
		d.wait = min(max(2*d.wait, d.Times.First), d.Times.Most)
		after = d.wait
	}
	d.timer = d.loop.Schedule(evloop.Timer{Deadline: d.loop.Now().Add(after), Kind: timerWait, Handler: d})
}

// forget closes a device that was carried and never started.
func (d *Device) forget() {
	if d.now.fd >= 0 {
		_ = unix.Close(d.now.fd)
		d.now.fd = -1
	}
}

// end lets go of all that is not the device itself.
func (d *Device) end() {
	d.forget()
	d.loop.Cancel(d.timer)
	d.loop.Cancel(d.room)
	d.folders.leave(d, true)
	if d.over != nil {
		d.over()
	}
}
