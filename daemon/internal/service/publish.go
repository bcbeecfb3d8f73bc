// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"errors"
	"fmt"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/text"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// A Publisher takes messages of programs that are no clients.
type Publisher interface {
	// Publish passes a message on, and returns its number in the feed, or 0 if it is no
	// part of that. It must not block. ErrBusy means that the caller is to try again; any
	// other error is the reason for which the message is refused, and nothing was passed on.
	Publish(p *Publication) (number uint64, err error)
}

// A Publication is a message that is to be passed on.
type Publication struct {
	Text  []byte    // with no delimiter but at its end
	Name  string    // who says it in a room; "": nobody, the text is all that is passed on
	Tag   string    // for those that follow
	Board string    // another one, on which the name is somebody; "": it is not of a board
	Peer  view.Peer // who publishes
}

// Errors that are the caller's to mend.
var (
	// ErrBusy means that a service cannot take a message now.
	ErrBusy = errors.New("the service is busy")
	// ErrDelimiter means that the text is more than one message.
	ErrDelimiter = errors.New("the message has a delimiter in it")
)

// Reasons for which a message is refused.
var (
	errEnds     = errors.New("the service ends")
	errReadOnly = errors.New(`nobody may write: write = "none"`)
	errHeld     = errors.New("another client holds it")
	errAway     = errors.New("the device or program is not there")
	errEmpty    = errors.New("there is no message")
)

// longestName is the most bytes of a name that Publish takes.
const longestName = 128

// Publish passes a line on to the members, as if one of that name had said it.
func (r *room) Publish(p *Publication) (uint64, error) {
	line := bytes.TrimSuffix(p.Text, r.frame.delim)
	switch {
	case r.ending:
		return 0, errEnds
	case len(line) > r.frame.max:
		return 0, fmt.Errorf("longer than max_line: %d bytes", len(p.Text))
	case bytes.Contains(line, r.frame.delim):
		return 0, ErrDelimiter
	case len(p.Name) > longestName:
		return 0, fmt.Errorf("the name has more than %d bytes", longestName)
	case r.fan.behind():
		return 0, ErrBusy
	}
	name := string(text.AppendClean(nil, []byte(p.Name)))
	t := r.message
	if name == "" || len(t) == 0 { // or nothing of the text would be in it
		t = template{{slot: slotLine}}
	}
	if p.Board != "" && name != "" && len(r.message) > 0 {
		name, t, line = r.ofBoard(name, p.Board, line)
	}
	b := r.render(t, &Session{peer: small(p.Peer), Data: &member{name: name}}, line)
	peer := p.Peer
	r.talk(nil, b, &About{
		Origin: OriginPublish, Peer: &peer, Name: name, Tag: p.Tag, where: r.placed,
	})
	return r.feed.last, nil
}

// Publish gives the source a message, as if one of its clients had sent it. In
// transactions the reply is for nobody.
func (b *bridge) Publish(p *Publication) (uint64, error) {
	delim := []byte(b.keys.Delimiter)
	message := bytes.TrimSuffix(p.Text, delim)
	switch {
	case b.suspended:
		return 0, ErrBusy
	case b.keys.Write == config.WriteNone:
		return 0, errReadOnly
	case b.keys.Write == config.WriteFirst && b.holder != nil && !b.holder.Closing():
		return 0, errHeld
	case len(message) > b.conf.MaxLine:
		return 0, fmt.Errorf("longer than max_line: %d bytes", len(message))
	case len(message)+len(delim) == 0:
		return 0, errEmpty
	case len(delim) > 0 && bytes.Contains(message, delim):
		return 0, ErrDelimiter
	}
	return 0, b.publish(append(bytes.Clone(message), delim...))
}

func (b *bridge) publish(message []byte) error {
	if b.takesTurns() && !b.mayAsk(nobody) {
		return ErrBusy
	}
	switch b.give(message) {
	case full:
		return ErrBusy
	case away:
		if !b.keepOf(0, message) {
			return errAway
		}
		return nil
	}
	if b.takesTurns() {
		b.given(0, nil, len(message))
	}
	return nil
}

// nobody is a client that no other is, in place of one that has no turn.
var nobody = new(evloop.Conn)
