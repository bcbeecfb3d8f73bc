// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sort"

	"penstock/daemon/internal/record"
	"penstock/daemon/internal/view"
)

// A feed is what a service says to all its clients, as messages with numbers, for a
// program that joins by the control socket. It gets messages as they came, and not the
// bytes that clients get:
//
//	history   5 6 7 8 │ now      Since(6) gives 7 and 8; Since(2) gives 5 to 8, and says
//	          ────────►          that 3 and 4 are missing
//
// A service that has no follower counts, and does nothing else. The history is that for
// newcomers: where each message in it has its number follows from that of the last one,
// since all that is kept is numbered. The alternative was a history for followers alone,
// which keeps all twice.
//
// Numbers go on in the next process. A process that begins anew says so by another series.
type Feed struct {
	series, last uint64 // last is the number of the last message; 0: there was none
	followers    []Follower

	recent *recent             // nil: nothing is kept
	delim  func() []byte       // ends a message in what is kept; nil: each is one
	plain  func([]byte) []byte // what is kept, without what was added for clients; nil: nothing was
}

// A Feeder is a service that can be joined. What it says to one client alone is no part of
// its feed: answers, and replies of a device to the client that has asked.
type Feeder interface{ Feed() *Feed }

// A Watched is a Feeder that does something only while it has clients or followers.
type Watched interface {
	// Followed is called when a follower was added or removed.
	Followed(on bool)
}

// A Follower is told each message, on the loop. It must not change the text, and must not
// write to connections of the service.
type Follower interface{ Follow(m Message) }

// A Message is one that a service has passed to all its clients.
type Message struct {
	Number uint64 // from 1 on; 0: a coming or going, or another name
	Text   []byte // without a delimiter
	About
}

// Origin says where a message is from.
const (
	OriginClient  = "client"
	OriginPublish = "publish" // by the control socket
	OriginSource  = "source"  // a device, a program, a file or the service itself
	OriginJoin    = "join"    // no message: a client has come
	OriginLeave   = "leave"   // no message: a client has gone
	OriginRename  = "rename"  // no message: a client has another name than Text
)

// About is what is known of a message beside its text.
type About struct {
	Origin string
	Peer   *view.Peer // of the client that has said it; nil: none has
	Name   string     // of that client, in a room
	Tag    string     // as Publish was given it

	where span // of the text in what was passed to clients; nowhere: all but a newline
}

func newFeed(recent *recent) Feed { return Feed{series: rand.Uint64() | 1, recent: recent} }

// Series names the numbering. Last returns the number of the last message.
func (f *Feed) Series() uint64 { return f.series }

// Last returns the number of the last message, or 0 if there was none.
func (f *Feed) Last() uint64 { return f.last }

// Add has w told from the next message on.
func (f *Feed) Add(w Follower) { f.followers = append(f.followers, w) }

// Remove has w told nothing any more.
func (f *Feed) Remove(w Follower) {
	if i := slices.Index(f.followers, w); i >= 0 {
		f.followers = slices.Delete(f.followers, i, i+1)
	}
}

// followed reports whether anybody is told.
func (f *Feed) followed() bool { return len(f.followers) > 0 }

// one numbers a message, and tells it. text is what was passed to clients.
func (f *Feed) one(text []byte, about *About) {
	f.last++
	if f.followed() {
		f.tell(Message{f.last, about.of(text), *about})
	}
}

// several numbers and tells the messages in text, which a delimiter separates.
func (f *Feed) several(text, delim []byte, about *About) {
	if !f.followed() {
		f.last += parts(text, delim)
		return
	}
	for p := range split(text, delim) {
		f.last++
		f.tell(Message{f.last, p, *about})
	}
}

// event tells of a coming or going, or of another name than was.
func (f *Feed) event(origin string, s *Session, name, was string) {
	if f.followed() {
		peer := s.Peer()
		f.tell(Message{Text: []byte(was), About: About{Origin: origin, Peer: &peer, Name: name}})
	}
}

func (f *Feed) tell(m Message) {
	for _, w := range f.followers {
		w.Follow(m)
	}
}

// of returns the text of a message in what was passed to clients.
func (a *About) of(text []byte) []byte {
	if w := a.where; w.placed {
		return text[w.at : w.at+w.size]
	}
	return bytes.TrimSuffix(bytes.TrimSuffix(text, lineEnd), []byte("\r"))
}

// Since returns what is kept of the messages after a number, and how many of them are not.
func (f *Feed) Since(after uint64) (list []Message, missed uint64) {
	first := f.last + 1
	if f.recent != nil {
		var delim []byte
		if f.delim != nil {
			delim = f.delim()
		}
		for _, k := range slices.Backward(f.recent.list) {
			n := parts(k.m.Bytes(), delim)
			if first <= after+1 || n >= first {
				break
			}
			first -= n
			list = f.kept(list, k, delim, first, after)
		}
		// Package slices would bring its own copy of the code for Messages.
		sort.Slice(list, func(i, j int) bool { return list[i].Number < list[j].Number })
	}
	return list, first - min(first, after+1)
}

// kept adds the messages of k after a number. The first one of k has the number first.
func (f *Feed) kept(list []Message, k kept, delim []byte, first, after uint64) []Message {
	about := k.about
	if about == nil {
		about = &About{Origin: OriginSource}
	}
	text := k.m.Bytes()
	if f.plain != nil {
		text = f.plain(text)
	}
	for p := range split(text, delim) {
		if first > after {
			list = append(list, Message{first, about.of(p), *about})
		}
		first++
	}
	return list
}

// parts returns how many messages split yields.
func parts(text, delim []byte) uint64 {
	if len(delim) == 0 {
		return 1
	}
	n := bytes.Count(text, delim)
	if !bytes.HasSuffix(text, delim) {
		n++
	}
	return uint64(n)
}

// split yields what the delimiter ends in text, and then what it does not end.
func split(text, delim []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(delim) > 0 {
			p, rest, found := bytes.Cut(text, delim)
			if !found {
				break
			}
			if !yield(p) || len(rest) == 0 {
				return
			}
			text = rest
		}
		yield(text)
	}
}

// save writes where the numbers are.
func (f *Feed) save(w *record.Writer) {
	w.Number(f.series)
	w.Number(f.last)
}

// numbers is what save has written; zero if that process had no numbers.
type numbers struct{ series, last uint64 }

func readNumbers(in *record.Reader) (n numbers, err error) {
	if !in.Left() {
		return n, nil
	}
	n.series, n.last = in.Number(), in.Number()
	if n.series == 0 {
		return n, record.ErrDamaged
	}
	return n, nil
}

// goOn takes the numbers of the former process.
func (f *Feed) goOn(n numbers) {
	if n.series != 0 {
		f.series, f.last = n.series, n.last
	}
}
