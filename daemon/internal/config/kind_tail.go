// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"path/filepath"
)

// KindTail sends a file that grows to every client.
const KindTail Kind = "tail"

// Tail follows a file by its name.
type Tail struct {
	File    string // an absolute path, after Load
	History int    // lines that a newcomer gets first
}

var tailKind = kind{
	name: KindTail,
	keys: []key[Service]{
		{"file", own(func(k *Tail) *string { return &k.File }, fileName)},
		{"history", own(func(k *Tail) *int { return &k.History }, integer(0, 10000))},
		start,
		topics,
	},
	defaults: func(s *Service) {
		listening(s)
		s.Of, s.Start = &Tail{}, StartBoot
	},
	overflow: policies{DropOldest, map[Overflow]string{
		Pause: "nobody may stop the source",
	}},
	check: checkTail,
	files: 12, // the queue of events, the files of a rotation, and those that a search for one opens
	holds: func(s *Service) int64 {
		n := int64(s.Of.(*Tail).History)
		return min(n*int64(s.MaxLine), int64(s.HistoryBound())) + n*perEntry
	},
	reads: func(s *Service) []string { return []string{s.Of.(*Tail).File} },
}

// checkTail completes the path. The file may be missing: it is waited for.
func checkTail(b *builder, d described) {
	k := d.Of.(*Tail)
	if k.File == "" {
		b.wrong(d.where("file"), errors.New(`missing, want a path such as "/var/log/app.log"`))
		return
	}
	if !filepath.IsAbs(k.File) {
		k.File = filepath.Join(filepath.Dir(d.where("file").file), k.File)
	}
	k.File = filepath.Clean(k.File)
}
