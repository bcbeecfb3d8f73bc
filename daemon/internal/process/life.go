// SPDX-License-Identifier: Apache-2.0

package process

// The life of a program is a pure function, like that of the daemon: from a state and
// a trigger it returns the next state and what must be done. The alternative was a set
// of flags and pointers that each callback looks at. A reader could not see which of
// their combinations are possible.
//
//	      start         forked           runs           hangup, stop      due         due
//	idle ─────► starting ────► launching ────► running ────────────► asked ──► termed ──► killed
//	               │  ▲                           │                    │         │          │
//	     notForked │  │ due                       │ exited             │         │          │ exited
//	               ▼  │         silent, due       ▼                    ▼         ▼          ▼
//	              waiting ◄──────────────────── gone ◄──────────────────────────────────────┘
//
// Until it is known whether the stub has become the program (start.go), either end
// may come first:
//
//	launching ── notRun ──► failing ── exited ──► waiting
//	launching ── exited ──► early ──── notRun ──► waiting
//	                          └─────── runs ────► gone
//
// If a program is not wanted any more (stop), the state over takes the place of
// waiting. It is reached at once from idle and waiting. A stub is killed: it has got
// no message yet, so nothing is lost.

// A state is where a program stands in its life.
type state uint8

const (
	idle      state = iota // not started yet
	starting               // a goroutine starts the stub
	launching              // the stub has yet to become the program
	early                  // the process has ended, and it is not known whether it was the program
	failing                // the stub will not become the program, and has yet to end
	running
	asked  // its input is closed, which asks it to end
	termed // it was sent SIGTERM
	killed // it was sent SIGKILL, which is repeated while it is there
	gone   // the process has ended, and its last output is still on its way
	waiting
	over

	states = over + 1
)

var stateNames = [states]string{
	"idle", "starting", "launching", "early", "failing", "running", "asked", "termed", "killed", "gone", "waiting", "over",
}

func (s state) String() string { return stateNames[s] }

// A trigger is an input to the life of a program.
type trigger uint8

const (
	start     trigger = iota // the service begins
	forked                   // there is a stub
	notForked                // there is none
	runs                     // the stub has become the program
	notRun                   // it has not
	hangup                   // the program has closed its output, or its input and has no other use, or makes room (Renew)
	stop                     // the service ends
	exited                   // the process is a zombie
	silent                   // all its output was read
	due                      // the timer of the state

	triggers = due + 1
)

var triggerNames = [triggers]string{
	"start", "forked", "notForked", "runs", "notRun", "hangup", "stop", "exited", "silent", "due",
}

func (t trigger) String() string { return triggerNames[t] }

// life is a state, and whether the program is wanted. A new life is wanted.
type life struct {
	state    state
	unwanted bool
}

// An effect is what the caller of step has to do. Effects of one step are done in
// the order of the constants.
type effect uint16

const (
	doFork     effect = 1 << iota // start the stub
	doLaunch                      // wait for what becomes of it
	doAbandon                     // close the pipes that no program will have
	doTerm                        // SIGTERM, and the timer
	doKill                        // SIGKILL, and the timer
	doReap                        // take the status; after that the number may be another's
	doAdopt                       // add its pipes to the loop
	doGreet                       // log that it runs
	doAsk                         // close its input, and set the timer
	doRest                        // wait for its last output, and set the timer
	doBury                        // count and log the end of the program
	doComplain                    // log why it was not started
	doWait                        // set the timer until the next start
	doEnd                         // call over
	nothing    effect = 0
)

// step returns the life that follows l on t. It does no I/O and reads no clock.
func step(l life, t trigger) (life, effect) {
	if t == stop {
		return stopped(l)
	}
	switch l.state {
	case idle:
		if t == start {
			return life{starting, l.unwanted}, doFork
		}
	case starting, launching, early, failing:
		return launched(l, t)
	case running, asked, termed, killed:
		return living(l, t)
	case gone:
		if t == silent || t == due {
			return ended(l, doBury)
		}
	case waiting:
		if t == due {
			return life{starting, l.unwanted}, doFork
		}
	}
	return l, nothing
}

// stopped is the step that stop makes. A second one changes nothing.
func stopped(l life) (life, effect) {
	if l.unwanted {
		return l, nothing
	}
	switch l.state {
	case idle, waiting:
		return life{over, true}, doEnd
	case launching:
		return life{launching, true}, doKill
	case running:
		return life{asked, true}, doAsk
	}
	return life{l.state, true}, nothing
}

// launched does the work of step until it is known whether the stub has become the program.
func launched(l life, t trigger) (life, effect) {
	greet := doGreet
	if l.unwanted {
		greet = nothing // it was killed before it could hear anything
	}
	switch {
	case l.state == starting && t == notForked:
		return ended(l, doComplain)
	case l.state == starting && t == forked && l.unwanted:
		return life{launching, true}, doLaunch | doKill
	case l.state == starting && t == forked:
		return life{launching, false}, doLaunch
	case l.state == launching && t == runs && l.unwanted:
		return life{killed, true}, doAdopt
	case l.state == launching && t == runs:
		return life{running, false}, doAdopt | doGreet
	case l.state == launching && t == notRun:
		return life{failing, l.unwanted}, doAbandon | doKill
	case (l.state == launching && l.unwanted || l.state == failing) && t == due:
		return l, doKill // it was killed, and is still there
	case l.state == launching && t == exited:
		return life{early, l.unwanted}, doReap
	case l.state == early && t == runs:
		return life{gone, l.unwanted}, doAdopt | greet | doRest
	case l.state == early && t == notRun:
		return ended(l, doAbandon|doComplain)
	case l.state == failing && t == exited:
		return ended(l, doReap|doComplain)
	}
	return l, nothing
}

// living does the work of step while there is a program.
func living(l life, t trigger) (life, effect) {
	switch {
	case t == exited:
		return life{gone, l.unwanted}, doReap | doRest
	case t == hangup && l.state == running:
		return life{asked, l.unwanted}, doAsk
	case t == due && l.state == asked:
		return life{termed, l.unwanted}, doTerm
	case t == due && (l.state == termed || l.state == killed):
		return life{killed, l.unwanted}, doKill // again while it is there: it may have the rights of another user
	}
	return l, nothing
}

// ended is the end of an attempt or of a life.
func ended(l life, do effect) (life, effect) {
	if l.unwanted {
		return life{over, true}, do | doEnd
	}
	return life{waiting, false}, do | doWait
}
