// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/view"
	"penstock/systemd"
)

// Every message and every key of the daemon is in this file: they are what an
// operator greps for, what the journal indexes (upper-cased) and what tests
// compare. Messages are constants, what varies is in the attributes.
//
//	error  the operator has to act
//	warn   a client was refused or lost something
//	info   the life of the process, and clients that went silent or were lost
//	debug  each connection, one record at its end
//
// What a peer can cause goes through the limiter. No record here holds payload;
// services log at most an excerpt of it, see internal/text.
const (
	keyService   = "service"
	keyListener  = "listener"
	keyConn      = "conn"
	keyPeer      = "peer"
	keyReason    = "reason"
	keyErr       = "err"
	keyBytesIn   = "bytes_in"
	keyBytesOut  = "bytes_out"
	keyOpened    = "opened"
	keyElapsed   = "elapsed_us"
	keyQueued    = "queued_bytes"
	keyKernel    = "kernel_queued_bytes"
	keyDropped   = "dropped"
	keyConns     = "conns"
	keyServices  = "services"
	keyListeners = "listeners"
	keyLimit     = "limit"
	keyConfig    = "config"
	keyLine      = "line"
	keyKey       = "key"
	keyEffect    = "effect"
	keySignal    = "signal"
	keyHint      = "hint"
	keyEvent     = "event"
	keyHeld      = "suppressed"
	keyApplied   = "applied_at"
	keyMessageID = "message_id"
)

// Catalog entries (journalctl -x) are found by these 128-bit names; see
// MESSAGE_ID= in systemd.journal-fields(7).
const (
	idReady       = "339586fe9749450eab7da5bb7f4867f8"
	idStopping    = "6ff947479a4a4f519f0167437cff4721"
	idIdle        = "3fc389fe9a4b470597fbe04111276f95"
	idStopped     = "8b76b76afa824a20bdeb7b33b3dc5ad2"
	idApplied     = "2a94423e41764e0b8d179b9930caac03"
	idNotApplied  = "c6ba6f889b8f4dac85af732d1ca2a43d"
	idRestored    = "42fdeccfb65847aabac425ef2b91182c"
	idNoListener  = "da98869d2df2434693514da8c1944e1f"
	idStraySocket = "940bb34f95b94ebab7b67e58665acc79"
	idRefused     = "97e8cbe119ff4244a432459954537a74"
	idCut         = "ebb095295387405384d557a194e43899"
	idDropped     = "0b88c406917940ac8807fbb7f2f8730d"
	idFailed      = "dfd36d1a58924adaa952a98fb87d818e"
	idMistake     = "beefe0ffba8640b89592e7d36f1da7fc"
	idWarning     = "66315c442db6da7b9662be73b7998c97"
	idAcceptFails = "7e18bdebf04b43f6a298221ea5baa164"
)

func messageID(id string) slog.Attr { return slog.String(keyMessageID, id) }

// A journal writes the daemon's records. Loop goroutine only.
type journal struct {
	log   *slog.Logger
	lim   *limiter
	peers config.Peers
}

// LogStartFailed says why the process ends.
func LogStartFailed(log *slog.Logger, err error) {
	if !logMistakes(log, err) {
		log.Error("daemon failed", messageID(idFailed), slog.Any(keyErr, err))
	}
}

// logMistakes writes one record for each mistake in the configuration, so that
// every one can be found by file and key. It reports whether err is such.
func logMistakes(log *slog.Logger, err error) bool {
	mistakes, ok := errors.AsType[config.Errors](err)
	for _, m := range mistakes {
		log.Error("configuration mistake", messageID(idMistake), slog.String(keyConfig, m.File),
			slog.Int(keyLine, m.Line), slog.String(keyKey, m.Key), slog.String(keyErr, m.Problem))
	}
	return ok
}

// warned writes one record for each setting that is served in another way than
// the files say. Their number has a bound.
func (j *journal) warned(warnings config.Warnings) {
	for _, w := range warnings {
		j.log.Warn("configuration warning", messageID(idWarning), slog.String(keyConfig, w.File),
			slog.Int(keyLine, w.Line), slog.String(keyKey, w.Key), slog.String(keyEffect, w.Problem))
	}
}

// LogNotifyFailed says that the service manager will not learn how the process
// is doing. The services run all the same.
func LogNotifyFailed(log *slog.Logger, err error) {
	log.Warn("service manager not told", slog.Any(keyErr, err))
}

// LogStartsTooOften says that the process waits before it begins, since it was
// started n times within the last minute and ended badly.
func LogStartsTooOften(log *slog.Logger, n int, wait time.Duration) {
	log.Warn("started too often, waiting", slog.Int("starts", n), slog.Int64("wait_us", wait.Microseconds()))
}

// LogReportFailed says that a command that waits for the result of a reload will
// not learn of it.
func LogReportFailed(log *slog.Logger, err error) {
	log.Error("result of the reload not reported", slog.Any(keyErr, err))
}

// LogKept says that a start will be served by what is in force now should the
// files have a mistake by then.
func LogKept(log *slog.Logger) { log.Debug("configuration kept for a start that finds mistakes") }

// LogNotKept says that it will not.
func LogNotKept(log *slog.Logger, err error) {
	log.Warn("configuration not kept for a start that finds mistakes", slog.Any(keyErr, err))
}

// LogNotRestored says that what was kept cannot be served.
func LogNotRestored(log *slog.Logger, err error) {
	log.Error("configuration kept before is of no use", slog.Any(keyErr, err))
}

func (j *journal) ready(version string, services, listeners int) {
	j.log.Info("daemon ready", messageID(idReady), slog.String("version", version),
		slog.Int(keyServices, services), slog.Int(keyListeners, listeners))
}

func (j *journal) stopping(signal string, conns int) {
	j.log.Info("daemon stopping", messageID(idStopping), slog.String(keySignal, signal), slog.Int(keyConns, conns))
}

func (j *journal) idle(after time.Duration) {
	j.log.Info("daemon idle, stopping", messageID(idIdle), slog.Int64(keyElapsed, after.Microseconds()))
}

func (j *journal) stopped(cut int) {
	j.log.Info("daemon stopped", messageID(idStopped), slog.Int("cut", cut))
}

func (j *journal) serving(name, address string) {
	j.log.Debug("service listening", slog.String(keyService, name), slog.String(keyListener, address))
}

func (j *journal) applied(p plan) {
	j.log.Info("configuration applied", messageID(idApplied), slog.Int("added", len(p.added)),
		slog.Int("removed", len(p.removed)), slog.Int("replaced", len(p.replaced)),
		slog.Int("adjusted", len(p.adjusted)), slog.Int("unchanged", p.unchanged))
}

func (j *journal) notApplied(err error) {
	cause := slog.Attr{}
	if !logMistakes(j.log, err) {
		cause = slog.Any(keyErr, err)
	}
	j.log.Error("configuration refused, the old one stays in force", messageID(idNotApplied), cause)
}

func (j *journal) restored(r *Restored) {
	cause := slog.Attr{}
	if !logMistakes(j.log, r.Refused) {
		cause = slog.Any(keyErr, r.Refused)
	}
	j.log.Error("configuration refused, serving what was applied before", messageID(idRestored),
		slog.String(keyApplied, r.Applied.Format(time.RFC3339)), cause)
}

func (j *journal) needsRestart(name, address, key string) {
	j.log.Warn("change takes effect at the next start", slog.String(keyService, name),
		slog.String(keyListener, address), slog.String(keyKey, key))
}

func (j *journal) listenerMissing(name, address string) {
	j.log.Error("listener missing", messageID(idNoListener), slog.String(keyService, name),
		slog.String(keyKey, "service."+name+".listen"), slog.String(keyListener, address), slog.String(keyHint, hintMissing))
}

func (j *journal) listenerFailed(name, address string, err error) {
	j.log.Error("listener failed", messageID(idNoListener), slog.String(keyService, name),
		slog.String(keyListener, address), slog.Any(keyErr, err))
}

func (j *journal) unlistedSocket(name, address string) {
	j.log.Warn("socket served that the configuration does not list", messageID(idStraySocket),
		slog.String(keyService, name), slog.String(keyListener, address), slog.String(keyHint, hintUnlisted))
}

func (j *journal) extraSocket(name, address string) {
	j.log.Warn("socket of no service closed", messageID(idStraySocket),
		slog.String("name", name), slog.String(keyListener, address), slog.String(keyHint, hintExtra(name)))
}

func (j *journal) parkedSocket(name, address string) {
	j.log.Warn("socket of a removed service kept, its clients wait", messageID(idStraySocket),
		slog.String(keyService, name), slog.String(keyListener, address), slog.String(keyHint, hintParked))
}

func (j *journal) rejected(descriptors []systemd.Rejected) {
	for _, r := range descriptors {
		j.log.Warn("descriptor closed", messageID(idStraySocket),
			slog.String("name", r.Name), slog.Int("fd", r.FD), slog.String(keyReason, r.Reason))
	}
}

func (j *journal) fewerConnections(asked, got int) {
	j.log.Warn("limit of connections lowered to what open files allow",
		slog.Int(keyLimit, got), slog.Int("asked", asked))
}

func (j *journal) fellBack(asked config.Backend, err error) {
	j.log.Warn("event loop falls back to epoll", slog.String("backend", string(asked)), slog.Any(keyErr, err))
}

func (j *journal) loopUnchanged() {
	j.log.Warn("changed loop settings wait for a restart")
}

func (j *journal) subnetsUnknown(name string, err error) {
	j.log.Warn("local-subnets not known, allow holds this machine only and deny everybody",
		slog.String(keyService, name), slog.Any(keyErr, err))
}

func (j *journal) signalIgnored(signal string) {
	j.log.Info("signal ignored", slog.String(keySignal, signal))
}

func (j *journal) notifyFailed(err error) {
	LogNotifyFailed(j.log, err)
}

func (j *journal) acceptFails(name, address string, err error) {
	if !j.lim.allow(limitKey{name, "accept failed", slog.LevelError}) {
		return
	}
	j.log.Error("accept failed, clients wait", messageID(idAcceptFails), slog.String(keyService, name),
		slog.String(keyListener, address), slog.Any(keyErr, err))
}

// held is what the limiter reports at the end of a window.
func (j *journal) held(k limitKey, n int) {
	j.log.LogAttrs(context.Background(), k.level, "messages suppressed", slog.String(keyService, k.service),
		slog.String(keyEvent, k.event), slog.Int(keyHeld, n))
}

// refused logs a client that was not let in. err is the system's error if that is
// the reason, or nil.
func (j *journal) refused(name, listener string, p view.Peer, reason string, err error) {
	if !j.lim.allow(limitKey{name, "refused " + reason, slog.LevelWarn}) {
		return
	}
	cause := slog.Attr{}
	if err != nil {
		cause = slog.Any(keyErr, err)
	}
	j.log.Warn("connection refused", messageID(idRefused), slog.String(keyService, name),
		slog.String(keyListener, listener), j.peer(p), slog.String(keyReason, reason), cause)
}

// closed writes the one record of a connection, which ended now. A record of its
// beginning would tell nothing more, and a health check every second would fill
// the journal of a board with two of them.
func (j *journal) closed(name string, c view.Conn, err error) {
	reason, level := reasonOf(err)
	message, id := "connection closed", slog.Attr{}
	if level >= slog.LevelInfo {
		message, id = "connection cut", messageID(idCut)
	}
	if !j.log.Enabled(context.Background(), level) || !j.lim.allow(limitKey{name, "closed " + reason, level}) {
		return
	}
	cause := slog.Attr{}
	if _, system := errors.AsType[unix.Errno](err); system || reason == unnamedReason {
		cause = slog.Any(keyErr, err)
	}
	j.log.LogAttrs(context.Background(), level, message, id, slog.String(keyService, name), slog.Uint64(keyConn, c.ID), j.peer(c.Peer),
		slog.String(keyReason, reason), cause, slog.String(keyOpened, time.Now().Add(-c.Age).Format(time.RFC3339)),
		slog.Uint64(keyBytesIn, c.In), slog.Uint64(keyBytesOut, c.Out),
		slog.Uint64(keyDropped, c.Dropped), slog.Int64(keyElapsed, c.Age.Microseconds()))
}

// dropped says that overflow took messages of a client that did not read.
func (j *journal) dropped(name string, id uint64, p view.Peer, messages, bytes int) {
	if !j.lim.allow(limitKey{name, "dropped", slog.LevelWarn}) {
		return
	}
	j.log.Warn("messages dropped", messageID(idDropped), slog.String(keyService, name), slog.Uint64(keyConn, id),
		j.peer(p), slog.Int(keyDropped, messages), slog.Int("dropped_bytes", bytes))
}

// A record is one line of the state: a constant message, and what varies.
type record struct {
	message string
	attrs   []slog.Attr
}

// state writes what a snapshot holds.
func (j *journal) state(s *view.Snapshot) {
	for _, r := range stateRecords(s, j.peers) {
		j.log.LogAttrs(context.Background(), slog.LevelInfo, r.message, r.attrs...)
	}
}

// stateRecords are the records of a snapshot: one for the process, one for each
// service and one for each connection that is listed.
func stateRecords(s *view.Snapshot, peers config.Peers) []record {
	out := []record{{"state", processAttrs(s)}}
	for i := range s.Services {
		v := &s.Services[i]
		out = append(out, record{"service state", serviceAttrs(v)})
		for _, c := range v.Conns {
			out = append(out, record{"connection state", connAttrs(v.Name, c, peers)})
		}
	}
	return out
}

func processAttrs(s *view.Snapshot) []slog.Attr {
	return []slog.Attr{
		slog.String("phase", s.Phase), slog.Int(keyServices, s.InForce()), slog.Int(keyConns, s.Clients()),
		slog.Int("leaving", len(s.Services)-s.InForce()), slog.Int("timers", s.Loop.Timers), slog.Int64(keyQueued, s.Loop.Queued),
		slog.Uint64("accepted", s.Loop.Accepted), slog.Uint64("accept_errors", s.Loop.AcceptErrors),
		slog.Uint64("stale_events", s.Loop.StaleEvents),
	}
}

func serviceAttrs(v *view.Service) []slog.Attr {
	var open []string
	for _, l := range v.Listeners {
		if !l.Dead {
			open = append(open, l.Address)
		}
	}
	return []slog.Attr{
		slog.String(keyService, v.Name), slog.String("kind", v.Kind), slog.String(keyListeners, strings.Join(open, " ")),
		slog.Int("missing", len(v.Missing)), slog.Bool("leaving", v.Leaving), slog.Int(keyConns, v.Clients),
		slog.Uint64("accepted", v.Accepted), slog.String("refused", counts(v.Refused)), slog.String("lost", counts(v.Lost)),
		slog.Int(keyKernel, v.Kernel), slog.Uint64(keyDropped, v.Dropped),
		slog.Uint64(keyBytesIn, v.Closed.In+v.Open.In), slog.Uint64(keyBytesOut, v.Closed.Out+v.Open.Out),
	}
}

func connAttrs(service string, c view.Conn, peers config.Peers) []slog.Attr {
	return []slog.Attr{
		slog.String(keyService, service), slog.Uint64(keyConn, c.ID), peerAttr(c.Peer, peers),
		slog.Int(keyQueued, c.Queued), slog.Int(keyKernel, c.Kernel), slog.Uint64(keyBytesIn, c.In), slog.Uint64(keyBytesOut, c.Out),
		slog.Uint64(keyDropped, c.Dropped), slog.Int64(keyElapsed, c.Age.Microseconds()),
	}
}

// counts lists numbers by reason, "address=3 uid=1".
func counts(byReason map[string]uint64) string {
	var texts []string
	for reason, n := range byReason {
		texts = append(texts, fmt.Sprintf("%s=%d", reason, n))
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}

// peer is peerAttr as log.peers has it.
func (j *journal) peer(p view.Peer) slog.Attr { return peerAttr(p, j.peers) }

// peerAttr returns the client's address as far as log.peers lets it be known. An
// attribute without a key is left out by slog.
func peerAttr(p view.Peer, peers config.Peers) slog.Attr {
	switch peers {
	case config.PeersNone:
		return slog.Attr{}
	case config.PeersFull:
		return slog.String(keyPeer, p.String())
	}
	return slog.String(keyPeer, p.Network())
}
