// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"penstock/daemon/internal/config"
)

// A Log writes the daemon's records. Loop goroutine only.
type Log struct {
	to    *slog.Logger
	lim   *limiter // nil: nothing is limited
	peers config.Peers
}

// New returns a log that writes to another, and limits by clock what peers can
// cause. Without a clock nothing is limited.
func New(to *slog.Logger, peers config.Peers, clock Clock) *Log {
	l := &Log{to: to, peers: peers}
	l.lim = newLimiter(clock, l.held)
	return l
}

// SetPeers says how much of a client's address may be written from now on.
func (l *Log) SetPeers(peers config.Peers) { l.peers = peers }

// Flush writes how many records were held back. It is called at exit.
func (l *Log) Flush() {
	if l.lim != nil {
		l.lim.flushAll()
	}
}

// held is what the limiter reports.
func (l *Log) held(k limitKey, n int) {
	l.to.LogAttrs(context.Background(), k.level, "messages suppressed", slog.String(keyService, k.service),
		slog.String(keyEvent, k.name), slog.Int(keyHeld, n))
}

// Warned writes one record for each setting that is served in another way than
// the files say. Their number has a bound.
func (l *Log) Warned(warnings config.Warnings) {
	for _, w := range warnings {
		l.to.Warn("configuration warning", messageID(idWarning), slog.String(keyConfig, w.File),
			slog.Int(keyLine, w.Line), slog.String(keyKey, w.Key), slog.String(keyEffect, w.Problem))
	}
}

// Ready says that every listener accepts.
func (l *Log) Ready(version string, services, listeners int) {
	l.to.Info("daemon ready", messageID(idReady), slog.String(keyVersion, version),
		slog.Int(keyServices, services), slog.Int(keyListeners, listeners))
}

// Stopping says that a signal has begun the end, for so many clients.
func (l *Log) Stopping(signal string, conns int) {
	l.to.Info("daemon stopping", messageID(idStopping), slog.String(keySignal, signal), slog.Int(keyConns, conns))
}

// Idle says that the process ends because nobody came for so long.
func (l *Log) Idle(after time.Duration) {
	l.to.Info("daemon idle, stopping", messageID(idIdle), slog.Int64(keyElapsed, after.Microseconds()))
}

// Stopped is the last record. So many clients did not get all they were due.
func (l *Log) Stopped(cut int) {
	l.to.Info("daemon stopped", messageID(idStopped), slog.Int(keyCut, cut))
}

// Changes counts the services that a reload concerned.
type Changes struct{ Added, Removed, Replaced, Adjusted, Unchanged int }

// Applied says that what the files say is in force.
func (l *Log) Applied(c Changes) {
	l.to.Info("configuration applied", messageID(idApplied), slog.Int(keyAdded, c.Added), slog.Int(keyRemoved, c.Removed),
		slog.Int(keyReplaced, c.Replaced), slog.Int(keyAdjusted, c.Adjusted), slog.Int(keyUnchanged, c.Unchanged))
}

// NotApplied says that a reload has changed nothing, and why.
func (l *Log) NotApplied(err error) {
	cause := slog.Attr{}
	if !logMistakes(l.to, err) {
		cause = slog.Any(keyErr, err)
	}
	l.to.Error("configuration refused, the old one stays in force", messageID(idNotApplied), cause)
}

// Restored says that a start found the files refused, and serves what was applied
// before.
func (l *Log) Restored(applied time.Time, refused error) {
	cause := slog.Attr{}
	if !logMistakes(l.to, refused) {
		cause = slog.Any(keyErr, refused)
	}
	l.to.Error("configuration refused, serving what was applied before", messageID(idRestored),
		slog.String(keyApplied, applied.Format(time.RFC3339)), cause)
}

// ExtraSocket says that a socket came that no service wants.
func (l *Log) ExtraSocket(name, address string) {
	l.to.Warn("socket of no service closed", messageID(idStraySocket),
		slog.String(keyName, name), slog.String(keyListener, address), slog.String(keyHint, hintExtra(name)))
}

// hintExtra is for a socket of no service. A unit that somebody wrote without
// FileDescriptorName= passes its own name.
func hintExtra(name string) string {
	if strings.HasSuffix(name, ".socket") && !strings.HasPrefix(name, "penstock-") {
		return "set FileDescriptorName= in " + name + " to the name of a service"
	}
	return "if its service was removed from the file: penstock apply"
}

// FewerConnections says that open files do not allow as many as the file does.
func (l *Log) FewerConnections(asked, got int) {
	l.to.Warn("limit of connections lowered to what open files allow",
		slog.Int(keyLimit, got), slog.Int(keyAsked, asked))
}

// FellBack says why the loop has not the back end that the file asks for.
func (l *Log) FellBack(asked config.Backend, err error) {
	l.to.Warn("event loop falls back to epoll", slog.String(keyBackend, string(asked)), slog.Any(keyErr, err))
}

// LoopUnchanged says that a reload cannot change the table loop.
func (l *Log) LoopUnchanged() { l.to.Warn("changed loop settings wait for a restart") }

// SignalIgnored says that a signal has no meaning here, or why it has no effect now.
func (l *Log) SignalIgnored(signal string, err error) {
	if err != nil {
		l.to.Error("signal ignored", slog.String(keySignal, signal), slog.Any(keyErr, err))
		return
	}
	l.to.Info("signal ignored", slog.String(keySignal, signal))
}

// NoControl is the function of that name.
func (l *Log) NoControl(err error) { NoControl(l.to, err) }

// NotifyFailed is the function of that name.
func (l *Log) NotifyFailed(err error) { NotifyFailed(l.to, err) }
