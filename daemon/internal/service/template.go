// SPDX-License-Identifier: Apache-2.0

package service

import (
	"strings"

	"penstock/daemon/internal/config"
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
