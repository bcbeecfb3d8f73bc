// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"
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
//
// A room that forgets what came since would show lines twice, or not know what it misses.
// So its file is also written to a folder in memory, a tenth of a second after each change. That
// outlives a process that is killed, and no boot; and no card wears from it.

const (
	// quickEvery is how often a room is written to memory at most, and quickShare the part
	// of the time that goes into it at most.
	quickEvery = 100 * time.Millisecond
	quickShare = 50
	// keepEvery is how often the state is written. A card of flash lasts for years of it.
	keepEvery = 5 * time.Minute
	// mostKept is how much is read back.
	mostKept = 128 << 20
)

// A keeper is the folder; "": there is none, and nothing outlives the process.
type keeper struct {
	folder string
	quick  string // the folder in memory; "": there is none
	log    *slog.Logger
	failed atomic.Bool // told once
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

// load reads what save has written, or saveQuick, which is newer if it is there. What is
// damaged is as if it was not there.
func (m *keeper) load(name string, out any) {
	for _, folder := range []string{m.quick, m.folder} {
		if folder == "" {
			continue
		}
		files, _, err := kept.Read(filepath.Join(folder, name), mostKept)
		if err == nil && len(files) == 1 {
			err = json.Unmarshal([]byte(files[0].Text), out)
		}
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrNotExist) {
			m.log.Warn("state not read, it begins anew", slog.Any("err", err))
		}
	}
}

// save writes something under a name.
func (m *keeper) save(name string, v any) { m.write(m.folder, name, v) }

// saveQuick writes it to memory.
func (m *keeper) saveQuick(name string, v any) { m.write(m.quick, name, v) }

func (m *keeper) write(folder, name string, v any) {
	if folder == "" {
		return
	}
	b, err := json.Marshal(v)
	if err == nil {
		err = kept.Write(filepath.Join(folder, name), []kept.File{{Name: name, Text: string(b)}}, 0o600)
	}
	if err != nil && !m.failed.Swap(true) {
		m.log.Warn("state not written", slog.Any("err", err))
	}
	if err == nil {
		m.failed.Store(false)
	}
}
