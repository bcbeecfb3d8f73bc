// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"penstock/daemon/internal/text"
	"penstock/evloop"
)

// What a member can say to the room itself, and how names are kept apart.
//
//	/nick NAME   another name, of A-Z a-z 0-9 _ -, at most 24
//	/who         who is here, and on other boards
//	/me TEXT     ~ name TEXT
//	/quit        goodbye
//	//TEXT       the line "/TEXT"
//
// A line with any other slash is refused rather than passed on: a mistyped
// /quit is not for everybody's eyes. What the room itself says begins with
// "* ", what went wrong with "ERR ", and nothing that a member says does: a
// "/me is now root" must not look like a new name.

func (r *room) command(c *evloop.Conn, line []byte) {
	word, arg, _ := bytes.Cut(line, []byte(" "))
	arg = bytes.TrimSpace(arg)
	switch string(word) {
	case "/nick":
		r.rename(c, string(arg))
	case "/who":
		c.Write(r.who())
	case "/me":
		b := append([]byte("~ "), memberOf(c).name...)
		r.talk(c, append(text.AppendClean(append(b, ' '), arg), '\n'), r.saidBy(c, span{}))
	case "/quit":
		r.finish(c)
	default:
		if bytes.HasPrefix(line, []byte("//")) {
			r.speak(c, line[1:])
			return
		}
		c.Write([]byte("ERR no such command, want /nick /who /me /quit, or // for a line that begins with /\n"))
	}
}

// rename gives c a name of its own and tells everybody, c included.
func (r *room) rename(c *evloop.Conn, name string) {
	switch {
	case !validName(name):
		c.Write([]byte("ERR bad nick, want 1 to 24 of A-Z a-z 0-9 _ -\n"))
		return
	case !r.available(c, name):
		c.Write([]byte("ERR nick in use\n"))
		return
	}
	m := memberOf(c)
	old := m.name
	r.release(c, m)
	r.nicks[foldName(name)], m.name, m.nick = c, name, true
	if old != name {
		r.tell()
		r.fan.send(evloop.NewMessage([]byte("* "+old+" is now "+name+"\n")), nil)
		r.feed.event(OriginRename, SessionOf(c), name, old)
	}
}

// available reports whether c may have the name. Two that differ in case only would
// look the same to readers.
func (r *room) available(c *evloop.Conn, name string) bool {
	holder := r.nicks[foldName(name)]
	return holder == nil || holder == c
}

// release gives up the name of c.
func (r *room) release(c *evloop.Conn, m *member) {
	if key := foldName(m.name); m.nick && r.nicks[key] == c {
		delete(r.nicks, key)
	}
}

// foldName is enough of case folding for the letters that validName admits.
func foldName(name string) string { return strings.ToLower(name) }

const maxName = 24

// validName admits what cannot be taken for a peer's address, for markup or for
// a name with a look-alike letter.
func validName(name string) bool {
	other := func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-'
	}
	return name != "" && len(name) <= maxName && !strings.ContainsFunc(name, other)
}

// whoMost bounds the answer to /who, which has to fit into a queue, and what it
// costs: some of the names are looked at, and not all of a thousand sorted.
const whoMost = 100

func (r *room) who() []byte {
	all := r.fan.members
	names := make([]string, min(len(all), whoMost))
	for i := range names {
		names[i] = memberOf(all[i]).name
	}
	slices.Sort(names)
	b := strconv.AppendInt([]byte("* "), int64(len(all)), 10)
	b = append(b, " here: "...)
	b = append(b, strings.Join(names, ", ")...)
	if len(all) > whoMost {
		b = append(b, ", ..."...)
	}
	return r.whoElse(append(b, '\n'), whoMost-len(names))
}

var loginPrefix = []byte("NAME: ")

// login takes the first line of the select-chat preset. Names need not be
// unique there, since the host is part of what the others see.
func (r *room) login(c *evloop.Conn, line []byte) {
	name, ok := bytes.CutPrefix(line, loginPrefix)
	if n := string(bytes.TrimSpace(name)); ok && validName(n) {
		memberOf(c).name = n + "@" + SessionOf(c).Peer().Host()
		r.enter(c)
		return
	}
	c.Write([]byte("ERR say NAME: and 1 to 24 of A-Z a-z 0-9 _ - first\n"))
}
