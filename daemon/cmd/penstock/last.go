// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"penstock/daemon"
	"penstock/daemon/internal/config"
	"penstock/daemon/internal/kept"
	"penstock/daemon/internal/report"
)

// A reload that finds a mistake leaves the old configuration in force. A start has no
// old configuration, unless it was kept: after a power cut that has emptied the file,
// the boot or the next crash would take down every service. So the daemon keeps the
// texts of what it serves in the folder of StateDirectory=. A start serves them if the
// files are refused.
//
//	files are good     ──► in force ──► kept, if they differ
//	files are refused  ──► what was kept ──► in force
//	             └─ nothing was, or it is damaged ──► exit status 78
//
// The kept file cannot be trusted more than the user of the service: a program of a
// handler could have written it. It gains nothing by that, because the file is served
// with the rights of the same user.

const (
	lastFile = "applied"
	// lastLimit is far more than anybody writes by hand. A larger table of answers is not
	// copied, to spare the card; a start reads it from its own file.
	lastLimit = 8 << 20
)

// A lastGood keeps what is in force. A nil one keeps nothing.
type lastGood struct {
	path   string // of the file that holds them
	source string // the main file; texts kept for another main file are not used
	log    *slog.Logger

	mu   sync.Mutex    // guards the following
	read []kept.File   // by the latest reading
	size int           // of their texts; above lastLimit nothing is kept
	due  []kept.File   // to be written; nil: nothing
	done chan struct{} // closed when all is written; nil: nobody writes
}

// newLastGood returns nil if no unit started the process, or if the unit has no
// StateDirectory= (systemd.exec(5)).
func newLastGood(env daemon.Env, source string) *lastGood {
	folder, _, _ := strings.Cut(os.Getenv("STATE_DIRECTORY"), ":") // the first of several
	if folder == "" || source == "" || !env.Managed {
		return nil
	}
	return &lastGood{path: filepath.Join(folder, lastFile), source: source, log: env.Log}
}

// reading begins a reading and returns what is to be called with its texts.
func (l *lastGood) reading() func(name, text string, named bool) {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.read, l.size = nil, 0
	return func(name, text string, named bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if named && l.size+len(text) > lastLimit {
			return
		}
		if l.size += len(text); l.size <= lastLimit {
			l.read = append(l.read, kept.File{Name: name, Text: text})
		}
	}
}

// keep has the texts of the latest reading written, on a goroutine of its own:
// a card may take seconds, and clients do not wait for it.
func (l *lastGood) keep() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > lastLimit {
		report.NotKept(l.log, fmt.Errorf("%s and its drop-ins have more than %d bytes", l.source, lastLimit))
		l.read = nil // what is kept stays: it is older, and better than nothing
		return
	}
	l.due, l.read = l.read, nil
	if l.done == nil {
		l.done = make(chan struct{})
		go l.write()
	}
}

// write writes until nothing is due.
func (l *lastGood) write() {
	for {
		l.mu.Lock()
		files := l.due
		l.due = nil
		if files == nil {
			close(l.done)
			l.done = nil
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if err := kept.Write(l.path, files, 0o600); err != nil {
			report.NotKept(l.log, err)
			continue
		}
		report.Kept(l.log)
	}
}

// wait returns when all is written, or patience is over.
func (l *lastGood) wait(patience time.Duration) {
	if l == nil {
		return
	}
	l.mu.Lock()
	done := l.done
	l.mu.Unlock()
	if done == nil {
		return
	}
	select {
	case <-done:
	case <-time.After(patience):
	}
}

// restore returns what was in force before the files were refused, or nil.
func (l *lastGood) restore(refused error) (*config.Config, *daemon.Restored) {
	if l == nil {
		return nil, nil
	}
	files, at, err := kept.Read(l.path, lastLimit+lastOverhead)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (len(files) == 0 || files[0].Name != l.source) {
		err = fmt.Errorf("%s: is not of %s", l.path, l.source)
	}
	var cfg *config.Config
	if err == nil {
		cfg, err = config.Loader{}.Restore(files)
	}
	if err != nil {
		report.NotRestored(l.log, err)
		return nil, nil
	}
	return cfg, &daemon.Restored{Applied: at, Refused: refused}
}

// lastOverhead is for the names and sizes of as many files as there may be.
const lastOverhead = 4 << 20
