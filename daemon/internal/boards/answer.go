// SPDX-License-Identifier: Apache-2.0

package boards

import "time"

// Answers cost this board and the broker something, so they have a rate, whoever asks for
// whatever: a bucket of bytes. An ask that has to wait is answered later, and one that is
// repeated meanwhile is answered once.
const (
	answerRate  = 1 << 20 // bytes a second
	answerBurst = 1 << 20
	answerLeast = 1 << 10 // what one costs that has nothing in it
)

type answers struct {
	tokens int
	filled time.Time
	list   []ask // that wait, one of each board
}

// due returns when an ask can be answered that waits; zero: none does.
func (a *answers) due() time.Time {
	if len(a.list) == 0 {
		return time.Time{}
	}
	if a.tokens > 0 {
		return a.filled
	}
	return a.filled.Add(time.Duration(1-a.tokens) * time.Second / answerRate)
}

// refill adds what the time has brought.
func (a *answers) refill(now time.Time) {
	if passed := now.Sub(a.filled); passed > 0 {
		more := answerBurst
		if passed < time.Second {
			more = int(passed * answerRate / time.Second)
		}
		if more == 0 {
			return // the time so far counts for the next call
		}
		a.tokens = min(a.tokens+more, answerBurst)
	}
	a.filled = now
}

// heardAsk takes what another board wants to know.
func (r *Room) heardAsk(payload []byte) bool {
	var a ask
	if !decode(payload, &a) || a.From == r.o.Board {
		return false
	}
	q := &r.answers
	for i := range q.list {
		if q.list[i].From == a.From {
			q.list[i] = a
			return true
		}
	}
	if len(q.list) >= r.o.Boards {
		r.counts.Refused++
		return true
	}
	q.list = append(q.list, a)
	r.tickAnswers()
	return true
}

// tickAnswers answers as long as there is something in the bucket.
func (r *Room) tickAnswers() {
	q := &r.answers
	if !r.up {
		q.list = nil // those who have asked will ask again
		return
	}
	q.refill(r.now)
	for q.tokens > 0 && len(q.list) > 0 {
		a := q.list[0]
		q.list = q.list[1:]
		payload := encode(r.answer(&a))
		q.tokens -= max(len(payload), answerLeast)
		r.send(kindAnswer, a.From, payload, false)
	}
}

// answer returns what this board knows.
func (r *Room) answer(a *ask) answer {
	to := answer{From: r.o.Board, Series: a.Series, After: a.After, Upto: a.Upto}
	switch {
	case a.History > 0:
		to.History, to.Lines = true, r.recent.newest(a.History)
	case a.Series != "":
		r.own.between(&to)
	case r.own.series != "":
		to.Board = r.self()
	}
	return to
}

// between adds the lines that are asked for, and ends the answer where the rest does not
// fit.
func (o *own) between(to *answer) {
	size := 0
	for _, l := range o.kept {
		if l.Series != to.Series || l.Number <= to.After || l.Number > to.Upto {
			continue
		}
		w := l.wire()
		if size += len(encode(w)) + 1; size > mostPayload && len(to.Lines) > 0 {
			to.Upto = to.Lines[len(to.Lines)-1].Number
			return
		}
		to.Lines = append(to.Lines, w)
	}
}
