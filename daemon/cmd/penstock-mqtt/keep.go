// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"penstock/daemon/internal/kept"
)

// What outlives the process is in the folder that the service manager has made for it:
//
//	state             what was taken of each service, what is retained at the broker
//	room-NAME         the lines of a shared room
//	spool/            what was not sent yet
//
// It is written at the end, and now and then, if it has changed. A power cut costs what
// came since: messages are published a second time then, and none is left out.

const (
	// keepEvery is how often the state is written. A card of flash lasts for years of it.
	keepEvery = 5 * time.Minute
	// mostKept is how much is read back.
	mostKept = 128 << 20
)

// A keeper is the folder; "": there is none, and nothing outlives the process.
type keeper struct {
	folder string
	log    *slog.Logger
	failed bool // told once
}

// A remembered is what a file of the name "state" holds.
type remembered struct {
	Cursors  map[string]cursor `json:"cursors"`
	Retained []string          `json:"retained"` // topics
}

// path returns where something is; "" without a folder.
func (m *keeper) path(name string) string {
	if m.folder == "" {
		return ""
	}
	return filepath.Join(m.folder, name)
}

// load reads what save has written. What is damaged is as if it was not there.
func (m *keeper) load(name string, out any) {
	if m.folder == "" {
		return
	}
	files, _, err := kept.Read(m.path(name), mostKept)
	if err == nil && len(files) == 1 {
		err = json.Unmarshal([]byte(files[0].Text), out)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("state not read, it begins anew", slog.Any("err", err))
	}
}

// save writes something under a name.
func (m *keeper) save(name string, v any) {
	if m.folder == "" {
		return
	}
	b, err := json.Marshal(v)
	if err == nil {
		err = kept.Write(m.path(name), []kept.File{{Name: name, Text: string(b)}}, 0o600)
	}
	if err != nil && !m.failed {
		m.log.Warn("state not written", slog.Any("err", err))
	}
	m.failed = err != nil
}
