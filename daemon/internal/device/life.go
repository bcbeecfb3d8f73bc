// SPDX-License-Identifier: Apache-2.0

package device

// The life of a device is a pure function: from a state and a trigger it returns the next
// state and what must be done.
//
//	      start            opened            gone, renew, stop
//	idle ──────► opening ─────────► up ────────────────────────► lost
//	 │            ▲    │            ▲                              │
//	 │ carried    │    │ failed     │                              │ closed
//	 └────────────│────│────────────┘                              │
//	          due │    ▼                                           │
//	             absent ◄──────────────────────────────────────────┘
//
//	idle ── outdated ──► lost
//
// A device that the former process has left open, but that is to be set in another way
// (outdated), is lost at once and opened anew. Two descriptors would quarrel about its
// locks, and the end of the old one would discard output of the new one.
//
// While a device is absent a timer runs, which a change in its folder shortens. Such a
// change that comes while it is being opened or closed (again) has the next attempt come
// soon, or what was opened looked at once more: the device may be there, or another one
// may have its name, since the last look. Other settings (stale) have it opened once more,
// at once, whatever it was.
//
// If the device is not wanted any more (stop), the state over takes the place of absent
// and opening. What has just been opened by then is closed again: lost.

// A state is where a device stands in its life.
type state uint8

const (
	idle    state = iota // not started yet
	absent               // it is not there, or it cannot be opened
	opening              // a goroutine opens it
	up                   // it is in the loop
	lost                 // it is gone or not wanted, and a goroutine closes it
	over

	states = over + 1
)

var stateNames = [states]string{"idle", "absent", "opening", "up", "lost", "over"}

func (s state) String() string { return stateNames[s] }

// A trigger is an input to the life of a device.
type trigger uint8

const (
	start    trigger = iota // the service begins
	carried                 // the former process has left it open
	outdated                // and under other options
	seen                    // something has changed in its folder
	due                     // the timer of the state absent
	opened
	failed // it was not opened
	gone   // it has hung up, or another has its name
	renew  // it is to be set in another way
	stop   // the service ends
	closed // its last descriptor is closed

	triggers = closed + 1
)

var triggerNames = [triggers]string{"start", "carried", "outdated", "seen", "due", "opened", "failed", "gone", "renew", "stop", "closed"}

func (t trigger) String() string { return triggerNames[t] }

// life is a state, and what is to follow it. A new life is wanted.
type life struct {
	state    state
	unwanted bool
	stale    bool // opening, lost: it is to be opened anew at once
	again    bool // opening, lost: its folder has changed since
}

// An effect is what the caller of step has to do. Effects of one step are done in the
// order of the constants.
type effect uint16

const (
	doOpen     effect = 1 << iota // have it opened
	doAdopt                       // add it to the loop
	doTell                        // say that it is up
	doLook                        // see whether its name is still its own
	doMiss                        // say that it is gone
	doClose                       // have it closed
	doComplain                    // say why it was not opened
	doWait                        // set the timer
	doSoon                        // set the timer to a moment
	doEnd                         // call over
	nothing    effect = 0
)

// step returns the life that follows l on t. It does no I/O and reads no clock.
func step(l life, t trigger) (life, effect) {
	switch l.state {
	case idle:
		return begun(l, t)
	case absent:
		return waited(l, t)
	case opening:
		return tried(l, t)
	case up:
		return lived(l, t)
	case lost:
		return released(l, t)
	}
	return l, nothing
}

// begun is a step from idle.
func begun(l life, t trigger) (life, effect) {
	switch t {
	case start:
		return life{state: opening}, doOpen
	case carried:
		return life{state: up}, doAdopt
	case outdated:
		return life{state: lost, stale: true}, doClose
	case stop:
		return life{state: over, unwanted: true}, doEnd
	}
	return l, nothing
}

// waited is a step from absent.
func waited(l life, t trigger) (life, effect) {
	switch t {
	case seen:
		return l, doSoon
	case due, renew:
		return life{state: opening}, doOpen
	case stop:
		return life{state: over, unwanted: true}, doEnd
	}
	return l, nothing
}

// tried is a step from opening.
func tried(l life, t trigger) (life, effect) {
	switch {
	case t == seen:
		l.again = true
	case t == renew:
		l.stale = true
	case t == stop:
		l.unwanted = true
	case t == opened && (l.unwanted || l.stale):
		l.state = lost
		return l, doClose
	case t == opened && l.again:
		return life{state: up}, doAdopt | doTell | doLook
	case t == opened:
		return life{state: up}, doAdopt | doTell
	case t == failed:
		return next(l, doComplain)
	}
	return l, nothing
}

// lived is a step from up.
func lived(l life, t trigger) (life, effect) {
	switch t {
	case seen:
		return l, doLook
	case gone:
		return life{state: lost}, doMiss | doClose
	case renew:
		return life{state: lost, stale: true}, doMiss | doClose
	case stop:
		return life{state: lost, unwanted: true}, doClose
	}
	return l, nothing
}

// released is a step from lost.
func released(l life, t trigger) (life, effect) {
	switch t {
	case seen:
		l.again = true
	case renew:
		l.stale = true
	case stop:
		l.unwanted = true
	case closed:
		return next(l, nothing)
	}
	return l, nothing
}

// next is the end of an attempt, or of an open device.
func next(l life, do effect) (life, effect) {
	switch {
	case l.unwanted:
		return life{state: over, unwanted: true}, doEnd
	case l.stale:
		return life{state: opening}, doOpen
	case l.again:
		return life{state: absent}, do | doSoon
	}
	return life{state: absent}, do | doWait
}
