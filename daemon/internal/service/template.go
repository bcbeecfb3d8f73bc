// SPDX-License-Identifier: Apache-2.0

package service

import (
	"strconv"
	"strings"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/text"
	"penstock/evloop"
)

// A template is a text with placeholders, cut into pieces once. text/template
// would bring a language, reflection and half a megabyte for four words.
//
//	"{name}: {line}"  ─►  [{name}] [": "] [{line}]
type template []piece

// A piece is a placeholder, or text if it has none.
type piece struct {
	text string
	slot slot
}

type slot uint8

const (
	slotText slot = iota
	slotName
	slotPeer
	slotLine
	slotCount
)

var slots = map[string]slot{
	config.PlaceName: slotName, config.PlacePeer: slotPeer, config.PlaceLine: slotLine, config.PlaceCount: slotCount,
}

// parseTemplate never fails: braces that are no placeholder are text, and
// package config has refused words in braces that look like one. The empty
// text is the template that says nothing.
func parseTemplate(text string) (t template) {
	for text != "" {
		word, s, at := "", slotText, len(text)
		for w, k := range slots {
			if i := strings.Index(text, w); i >= 0 && i < at {
				word, s, at = w, k, i
			}
		}
		if at > 0 {
			t = append(t, piece{text: text[:at]})
		}
		if s != slotText {
			t = append(t, piece{slot: s})
		}
		text = text[at+len(word):]
	}
	return t
}

// render returns the text about c, with line where the template wants it, and
// a newline.
func (r *room) render(t template, c *evloop.Conn, line []byte) []byte {
	b := make([]byte, 0, len(line)+96) // as much as most templates add
	for _, p := range t {
		switch p.slot {
		case slotText:
			b = append(b, p.text...)
		case slotName:
			b = append(b, memberOf(c).name...)
		case slotPeer:
			b = append(b, r.peer(c)...)
		case slotLine:
			b = r.clean(b, line)
		case slotCount:
			b = strconv.AppendInt(b, int64(len(r.fan.members)), 10)
		}
	}
	return append(b, '\n')
}

// peer is the address as the preset's clients know it: the select-chat server
// says it without the port.
func (r *room) peer(c *evloop.Conn) string {
	if r.conf.Preset == config.PresetSelectChat {
		return SessionOf(c).Peer.Host()
	}
	return SessionOf(c).Peer.String()
}

// clean appends what a member said, without what the others' terminals would
// take for a command. An LF can only be in a line whose end is CRLF, and only
// the preset that has such lines keeps it.
func (r *room) clean(b, line []byte) []byte {
	if r.conf.Preset == config.PresetTwisted {
		return text.AppendLines(b, line)
	}
	return text.AppendClean(b, line)
}
