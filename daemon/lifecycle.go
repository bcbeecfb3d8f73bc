// SPDX-License-Identifier: Apache-2.0

package daemon

// The life of the process is a pure function: from a state and a trigger it returns
// the next state and what must be done. The alternative was a set of flags such as
// isReloading that signal handlers set. Those cannot be tested for every order in
// which signals arrive; this function can, and is (TestStep).

// A phase is where the process stands in its life. The only paths are
//
//	starting ──► ready ◄──► reloading
//	    ├──────────┼────────────┼──► leaving ──► storing ──► handedOver
//	    └──────────┴────────────┴───────┴───────────┴► stopping
type phase uint8

const (
	starting phase = iota
	ready
	reloading
	leaving    // the next process is to go on with the connections
	storing    // their queue is with the service manager, which may refuse it
	handedOver // the queue is filled; only clients that are not in it are still finished
	stopping
)

// A hand-over has one name for whoever looks from outside.
var phaseNames = [...]string{"starting", "ready", "reloading", "leaving", "leaving", "leaving", "stopping"}

func (p phase) String() string { return phaseNames[p] }

// A trigger is an input to the life cycle: a signal, or the end of some work.
type trigger uint8

const (
	started   trigger = iota // every listener is armed
	hangup                   // SIGHUP: read the configuration again
	reloaded                 // the new configuration is in force, or refused
	terminate                // SIGTERM, or SIGINT without a manager
	handOver                 // SIGINT of a manager, or SIGUSR2
	prepared                 // nothing is left that cannot be carried
	stored                   // the queue is where the next process finds it
	filled                   // the connections are in the queue
	unable                   // the connections cannot be carried
	drained                  // the last connection has closed
	idled                    // no client has come for exit_idle, and none waits
)

// life is a phase, and whether a reload is owed: one that was asked for while none
// could begin. After any number of hangups only one reload is owed, since it reads
// what the files say by then.
type life struct {
	phase phase
	owed  bool
}

// An effect is something that the caller of step must do. The effects of one step
// are carried out in the order of the constants.
type effect uint8

const (
	sayReady  effect = 1 << iota // READY=1
	reload                       // RELOADING=1, then read the files
	again                        // the files may have changed since their reading began
	prepare                      // let finish what cannot be carried
	store                        // make the queue and have it kept
	freeze                       // take the connections out of the loop and queue them
	drain                        // STOPPING=1, close listeners, let clients finish
	finish                       // leave the loop
	noEffects effect = 0
)

// step returns the state that follows l on t. It does no I/O and reads no
// clock.
func step(l life, t trigger) (life, effect) {
	switch {
	case l.phase == stopping:
		// A second request to stop ends the process at once. STOPPING=1 cannot be
		// taken back (sd_notify(3)), so a hangup has no effect any more.
		if t == terminate || t == drained {
			return l, finish
		}
		return l, noEffects
	case l.phase == handedOver:
		return l, noEffects // all is the next process's, a request to stop too
	case t == terminate, t == unable && l.phase >= leaving, t == idled && l.phase == ready:
		return life{phase: stopping}, drain
	case l.phase == leaving && t == prepared:
		return life{phase: storing}, store
	case l.phase == storing && t == stored:
		return l, freeze
	case l.phase == storing && t == filled:
		return life{phase: handedOver}, noEffects
	case l.phase >= leaving: // the next process reads the files anyway, whatever SIGHUP wants
		return l, noEffects
	case t == handOver:
		return life{phase: leaving}, prepare
	case t == hangup && l.phase == ready:
		return life{phase: reloading}, reload
	case t == hangup && l.phase == reloading:
		return life{phase: reloading, owed: true}, again
	case t == hangup:
		return life{phase: l.phase, owed: true}, noEffects
	case t == started && l.phase == starting, t == reloaded && l.phase == reloading:
		if l.owed {
			// READY=1 comes in between: with Type=notify-reload each RELOADING=1 must
			// be answered, and that of the owed reload needs a later time stamp.
			return life{phase: reloading}, sayReady | reload
		}
		return life{phase: ready}, sayReady
	}
	// drained while serving means only that there is no client now. After idled
	// during a reload, the end of the reload arms the timer again.
	return l, noEffects
}
