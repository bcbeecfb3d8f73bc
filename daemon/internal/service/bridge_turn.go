// SPDX-License-Identifier: Apache-2.0

package service

// With write = "transaction" a message owns the source until its reply ends. Whose turn it
// is, is a pure function: from a state and a trigger it returns the next state and what
// must be done.
//
//	        given           spoke
//	  free ───────► asked ───────► answered
//	   ▲              │ overdue       │ overdue
//	   │              ▼               ▼
//	   │            late ◄────────────┘
//	   │              │
//	   └──────────────┴── ended, quiet, lost; late: overdue too
//
// A source does not say to what it replies. So after a reply that did not come in time
// (overdue) the next message waits for as long again (late): what comes then is the reply
// to the former one, and is not given to the next client. To ask at once would be faster
// if a device is silent, and would shift all replies by one if it is only slow.
//
// What comes when nobody has asked (free) is for all.

// A turnState says whose turn it is.
type turnState uint8

const (
	free     turnState = iota // anybody's
	asked                     // a message was given, and there is no reply yet
	answered                  // the reply has begun
	late                      // the time for it is over

	turnStates = late + 1
)

var turnStateNames = [turnStates]string{"free", "asked", "answered", "late"}

func (s turnState) String() string { return turnStateNames[s] }

// A turnTrigger is an input to a turn.
type turnTrigger uint8

const (
	given   turnTrigger = iota // the source has taken a message
	spoke                      // it has said something
	ended                      // the same, with the end of a reply
	quiet                      // it has said nothing for reply_gap since it spoke
	overdue                    // reply_timeout is over
	lost                       // it is gone

	turnTriggers = lost + 1
)

var turnTriggerNames = [turnTriggers]string{"given", "spoke", "ended", "quiet", "overdue", "lost"}

func (t turnTrigger) String() string { return turnTriggerNames[t] }

// A turnEffect is what the caller of turnStep has to do, in the order of the constants.
type turnEffect uint8

const (
	toAll     turnEffect = 1 << iota // what was said
	toAsker                          // what was said
	doMiss                           // count a message without a reply
	doAwait                          // begin to wait for reply_timeout
	doNext                           // it is the turn of the next client
	noTurning turnEffect = 0
)

// turnStep returns the state that follows s on t. It does no I/O and reads no clock.
func turnStep(s turnState, t turnTrigger) (turnState, turnEffect) {
	if s == free {
		switch t {
		case given:
			return asked, doAwait
		case spoke, ended:
			return free, toAll
		}
		return free, noTurning
	}
	switch t {
	case spoke:
		if s == asked {
			s = answered
		}
		return s, toAsker
	case ended:
		return free, toAsker | doNext
	case quiet:
		if s == asked {
			return asked, noTurning // a pause before the reply ends nothing
		}
		return free, doNext
	case overdue:
		if s == late {
			return free, doNext
		}
		return late, doMiss | doAwait
	case lost:
		if s == late {
			return free, doNext // it was counted before
		}
		return free, doMiss | doNext
	}
	return s, noTurning
}
