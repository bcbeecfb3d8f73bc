// SPDX-License-Identifier: Apache-2.0

package report

import "log/slog"

// Keys are what an operator greps for, and what the journal indexes
// (upper-cased). penstock(8) lists them, and a test compares.
const (
	keyService      = "service"
	keyKind         = "kind"
	keyListener     = "listener"
	keyName         = "name"
	keyFD           = "fd"
	keyConn         = "conn"
	keyPeer         = "peer"
	keyReason       = "reason"
	keyErr          = "err"
	keyBytesIn      = "bytes_in"
	keyBytesOut     = "bytes_out"
	keyBytes        = "bytes"
	keyText         = "text"
	keyOpened       = "opened"
	keyElapsed      = "elapsed_us"
	keyQueued       = "queued_bytes"
	keyKernel       = "kernel_queued_bytes"
	keyUnsent       = "unsent_bytes"
	keyDropped      = "dropped"
	keyDroppedBytes = "dropped_bytes"
	keyLost         = "lost"
	keyCut          = "cut"
	keyConns        = "conns"
	keyServices     = "services"
	keyListeners    = "listeners"
	keyMissing      = "missing"
	keyLeaving      = "leaving"
	keyTimers       = "timers"
	keyAccepted     = "accepted"
	keyRefused      = "refused"
	keyAcceptErrors = "accept_errors"
	keyStaleEvents  = "stale_events"
	keyPhase        = "phase"
	keyVersion      = "version"
	keySignal       = "signal"
	keyBackend      = "backend"
	keyLimit        = "limit"
	keyAsked        = "asked"
	keyConfig       = "config"
	keyLine         = "line"
	keyKey          = "key"
	keyEffect       = "effect"
	keyHint         = "hint"
	keyApplied      = "applied_at"
	keyAdded        = "added"
	keyRemoved      = "removed"
	keyReplaced     = "replaced"
	keyAdjusted     = "adjusted"
	keyUnchanged    = "unchanged"
	keyStarts       = "starts"
	keyWait         = "wait_us"
	keyCommand      = "command"
	keyPID          = "pid"
	keyStatus       = "status"
	keyPipe         = "pipe"
	keyReplies      = "replies"
	keyUnanswered   = "unanswered"
	keyEvent        = "event"
	keyFile         = "file"
	keyOffset       = "offset"
	keyHeld         = "suppressed"
	keyMessageID    = "message_id"
)

// Catalog entries (journalctl -x) are found by these 128-bit names; see
// MESSAGE_ID= in systemd.journal-fields(7).
const (
	idReady         = "339586fe9749450eab7da5bb7f4867f8"
	idStopping      = "6ff947479a4a4f519f0167437cff4721"
	idIdle          = "3fc389fe9a4b470597fbe04111276f95"
	idStopped       = "8b76b76afa824a20bdeb7b33b3dc5ad2"
	idApplied       = "2a94423e41764e0b8d179b9930caac03"
	idNotApplied    = "c6ba6f889b8f4dac85af732d1ca2a43d"
	idRestored      = "42fdeccfb65847aabac425ef2b91182c"
	idNoListener    = "da98869d2df2434693514da8c1944e1f"
	idStraySocket   = "940bb34f95b94ebab7b67e58665acc79"
	idRefused       = "97e8cbe119ff4244a432459954537a74"
	idCut           = "ebb095295387405384d557a194e43899"
	idDropped       = "0b88c406917940ac8807fbb7f2f8730d"
	idFailed        = "dfd36d1a58924adaa952a98fb87d818e"
	idMistake       = "beefe0ffba8640b89592e7d36f1da7fc"
	idWarning       = "66315c442db6da7b9662be73b7998c97"
	idHandingOver   = "fdbedaa52a044c6e8189eb42504b8559"
	idHandedOver    = "784cc52ccbfa48d69d728e59263d6950"
	idNotHandedOver = "0a48ac1d1c7b494a9070b15f07b49dc3"
	idTookOver      = "6758b8414a7742e992d8fb20709c8d27"
	idNotTakenOver  = "e6f39281020e499eb2b14550bfd76866"
	idAcceptFails   = "7e18bdebf04b43f6a298221ea5baa164"
)

func messageID(id string) slog.Attr { return slog.String(keyMessageID, id) }

// Hints for the administrator about a socket that is missing, or that is there and not
// listed. The daemon cannot see the reason. If the file was edited without an apply,
// apply mends it. If another program has the port, an interface is missing or there is
// a drop-in, apply says so.
const (
	HintMissing  = "run penstock apply, which opens it or says why not"
	hintUnlisted = "if the file was edited: penstock apply"
	hintParked   = "run penstock apply, which closes it; or take the service into the file again"
)
