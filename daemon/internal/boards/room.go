// SPDX-License-Identifier: Apache-2.0

package boards

import (
	"strings"
	"time"
)

// Bounds. A Room holds less than 20 MiB, whatever comes.
const (
	DefaultBoards = 64      // that one room follows
	leastKept     = 1000    // own lines, for boards that ask
	keptBytes     = 4 << 20 // of these
	heldLines     = 256     // of one board, behind a gap
	heldBytes     = 4 << 20 // of all boards
	queueLines    = 4096    // for the daemon
	queueBytes    = 4 << 20
	window        = 16   // of these that the daemon is given at a time
	mostNames     = 1000 // of one board
	mostOnline    = 4096 // boards at the broker, whatever rooms they have
	mostStrangers = DefaultBoards
	mostSeries    = 8 // former ones of a board that are known as such
	mostAsks      = 8 // under way
)

// Times.
const (
	patience   = time.Second            // for a line that another one has overtaken
	answerTime = 10 * time.Second       // until an ask is repeated
	pace       = 50 * time.Millisecond  // between an answer and the ask for the rest
	parkTime   = time.Minute            // for lines behind a gap of a board that is not there
	stateTime  = 5 * time.Second        // from a line to the state that has its number
	stateRest  = 2 * time.Second        // between two states, and a second for each 16 KiB
	againTime  = time.Minute            // from a state to its repetition
	lapseTime  = 10 * time.Second       // from the loss of the broker to that of everybody
	findTime   = 5 * time.Second        // for a newcomer to find a board
	checkTime  = 30 * time.Second       // until a board only the broker says is there is asked
	checkPace  = 500 * time.Millisecond // between two such
	doubtTime  = time.Minute            // from the first connection, for boards to be heard of
	mostTries  = 4                      // asks without an answer
)

// Options are what a Room is.
type Options struct {
	Room    string // its name, one level of a topic
	Board   string // this board's
	History int    // lines that the room shows a newcomer; 0: none are asked for
	Boards  int    // the most others that are followed; 0: DefaultBoards
}

// A Room is one room of this board. Its methods are for one goroutine. Each that has the
// time takes what was put in until then as done, and time must not go back.
type Room struct {
	o   Options
	now time.Time // of the input that is worked on

	up, met bool      // the broker is there; it has been before
	ended   bool      // there is no such room any more
	away    time.Time // when all are out of reach; zero: the broker is there, or it was said
	reach   Reach     // as it was said last

	doubts  bool      // a process before may have delivered what the daemon does not show
	doubted time.Time // boards that are heard of later are new; zero: no connection yet

	own       own
	state     state
	recent    recent
	names     []string
	peers     []*peer // the longest known first
	online    map[string]bool
	check     time.Time // when the next board may be checked
	strangers []string  // boards of which too little is known
	strange   time.Time // when the next of them may be asked
	catch     catch
	marks     marks
	answers   answers
	delivery  delivery
	twins     []string // series that were told of
	crowded   bool
	counts    Counts
	out       []Output
}

// Counts are sums since New or Load.
type Counts struct {
	Garbage   uint64 // messages that were none
	Doubles   uint64 // lines that were there already
	Crowded   uint64 // messages of boards beyond the bound
	Asks      uint64 // asks that were sent
	Refused   uint64 // asks of others that were not answered
	Delivered uint64
}

// New returns a Room about which nothing is known.
func New(o Options) *Room {
	if o.Boards == 0 {
		o.Boards = DefaultBoards
	}
	r := &Room{o: o, online: map[string]bool{}}
	r.recent.most, r.delivery.waits = o.History, true
	r.answers.tokens = answerBurst
	return r
}

// Counts returns the sums.
func (r *Room) Counts() Counts { return r.counts }

// After returns the parameters of Join: go on behind that number of that series. Both
// are given, also when the series is "" and the number 0: then Join tells all there is.
func (r *Room) After() (series string, number uint64) { return r.own.series, r.own.seen }

// Joined is the first reply of a Join, with its missed. The messages in it and in later
// replies go to Line. What those say is missed need not be told: it follows from the
// numbers.
func (r *Room) Joined(now time.Time, series string, last, missed uint64) {
	r.begin(now)
	defer r.finish()
	r.joined(series, last, missed)
}

// Left says that the connection to the daemon is no more. Nothing is delivered until
// Joined.
func (r *Room) Left(now time.Time) {
	r.begin(now)
	defer r.finish()
	r.delivery.joined, r.delivery.waits = false, false
	r.fireCatch(cutOff, true)
}

// Line is a message of Join with a number, whoever has said it: the tag tells those that
// were delivered here.
func (r *Room) Line(now time.Time, number uint64, name, text, tag string) {
	r.begin(now)
	defer r.finish()
	r.line(number, name, text, tag)
}

// Landed says that the daemon has taken a Deliver.
func (r *Room) Landed(now time.Time, tag string) {
	r.begin(now)
	defer r.finish()
	r.delivery.landed(tag)
}

// Refused says that the daemon has refused a Deliver for good.
func (r *Room) Refused(now time.Time, tag string) {
	r.begin(now)
	defer r.finish()
	if board, series, number, ok := parseTag(tag); ok && r.delivery.landed(tag) {
		r.counts.Delivered--
		r.lose(Lost{Board: board, Series: series, From: number, To: number})
	}
}

// Names are all those who are in the room on this board.
func (r *Room) Names(now time.Time, names []string) {
	r.begin(now)
	defer r.finish()
	r.named(names)
}

// Up says that there is a connection to the broker, and the subscriptions are made. What
// is retained may be Heard before it. Connections go on with the broker's session. The
// first one of a process that did not end in order is better one with a clean start: if the
// daemon does not show any more what it was given, what the session has kept may come twice.
func (r *Room) Up(now time.Time) {
	r.begin(now)
	defer r.finish()
	r.connected()
}

// Down says that there is no connection any more. Nothing of it is Heard later.
func (r *Room) Down(now time.Time) {
	r.begin(now)
	defer r.finish()
	r.disconnected()
}

// Heard is a message of the broker, of any topic. retained says that the broker has kept
// it: it comes because of the subscription.
func (r *Room) Heard(now time.Time, topic string, payload []byte, retained bool) {
	r.begin(now)
	defer r.finish()
	if len(payload) > maxPayload || !r.heard(topic, payload, retained) {
		r.counts.Garbage++
	}
}

// heard reports whether the message was one.
func (r *Room) heard(topic string, payload []byte, retained bool) bool {
	kind, from, ok := parseTopic(topic, r.o.Room)
	switch {
	case !ok:
		return false
	case kind == kindAsk || kind == kindAnswer:
		if from != r.o.Board {
			return false
		}
		return kind == kindAsk && r.heardAsk(payload) || kind == kindAnswer && r.heardAnswer(payload)
	case kind == "":
		return r.heardOnline(from, string(payload), retained)
	case kind == kindLine:
		return r.heardLine(from, payload)
	case kind == kindBoard:
		return r.heardBoard(from, payload, retained)
	}
	return false
}

// Tick does what is due. Next says when that is.
func (r *Room) Tick(now time.Time) {
	r.begin(now)
	defer r.finish()
	for _, p := range r.peers {
		r.tickPeer(p)
	}
	r.fireCatch(catchDue, r.due(r.catch.due))
	r.tickAnswers()
	r.tickPresence()
}

// Next returns when Tick has something to do; ok is false if nothing is due, ever. An
// input may change it.
func (r *Room) Next() (at time.Time, ok bool) {
	earlier := func(t time.Time) {
		if !t.IsZero() && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	for _, p := range r.peers {
		earlier(p.due)
		earlier(p.lapse)
	}
	earlier(r.catch.due)
	earlier(r.away)
	if r.up {
		earlier(r.state.due)
		earlier(r.answers.due())
		earlier(r.checkDue())
	}
	return at, !at.IsZero()
}

// End says that this board has no such room any more.
func (r *Room) End(now time.Time) {
	r.begin(now)
	defer r.finish()
	if r.up && !r.ended {
		r.send(kindBoard, r.o.Board, nil, true)
	}
	r.ended = true
}

// Take returns what is to be done since the last call.
func (r *Room) Take() []Output {
	out := r.out
	r.out = nil
	return out
}

func (r *Room) begin(now time.Time) { r.now = now }

// finish does what any input may have led to.
func (r *Room) finish() {
	r.settle()
	r.tickState()
	r.pump()
}

// due reports whether a time has come. That of zero never does.
func (r *Room) due(t time.Time) bool { return !t.IsZero() && !r.now.Before(t) }

func (r *Room) do(o Output) { r.out = append(r.out, o) }

func (r *Room) send(kind, board string, payload []byte, retain bool) {
	r.do(Send{Topic: topic(r.o.Room, kind, board), Payload: payload, Retain: retain, QoS: 1})
}

// lose tells of lines that were not delivered.
func (r *Room) lose(l Lost) {
	if l.From <= l.To {
		r.do(l)
	}
}

// cut returns a name that is short enough. An invalid end is mended by JSON.
func cut(name string) string {
	if len(name) > longestName {
		name = strings.ToValidUTF8(name[:longestName], "")
	}
	return name
}
