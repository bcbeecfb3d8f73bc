// SPDX-License-Identifier: Apache-2.0

package evloop

import "errors"

// What a call of the package's functions reports. The text around it names the
// call and the descriptor.
var (
	// ErrBusy means that DetachAll was called inside the connection's own Data,
	// or when it was over.
	ErrBusy = errors.New("evloop: connection in use or over")
	// ErrNotListening means that a socket given to Listen does not listen.
	ErrNotListening = errors.New("evloop: socket does not listen")
	// ErrSocketType means that a socket is neither a stream nor seqpacket.
	ErrSocketType = errors.New("evloop: not a stream or seqpacket socket")
)

// What Closed reports when the loop itself ended a connection. A peer's
// reset or another failure of the system arrives as an *os.SyscallError that
// unwraps to a unix.Errno; an orderly end is nil.
var (
	// ErrAborted is the reason of Abort(nil).
	ErrAborted = errors.New("evloop: aborted")
	// ErrDetached ends a connection whose descriptor was taken out by DetachAll.
	ErrDetached = errors.New("evloop: detached")
	// ErrFlushTimeout means that CloseAfterFlush could not send everything in time.
	ErrFlushTimeout = errors.New("evloop: output not flushed in time")
	// ErrIdle means that no byte moved either way for Options.IdleTimeout.
	ErrIdle = errors.New("evloop: idle for too long")
	// ErrInputFull means that the handler left more than Options.MaxInput unconsumed.
	ErrInputFull = errors.New("evloop: too much unconsumed input")
	// ErrLoopClosed ends every connection that is left when the Loop is closed;
	// nothing can be added to it any more.
	ErrLoopClosed = errors.New("evloop: loop closed")
	// ErrMemory means that the whole loop was at Config.Memory and this
	// connection owed about the most.
	ErrMemory = errors.New("evloop: memory bound of the loop reached")
	// ErrOverflow means that Options.Queue was reached under Disconnect.
	ErrOverflow = errors.New("evloop: output queue full")
	// ErrStalled means that queued output made no progress for Options.StallTimeout.
	ErrStalled = errors.New("evloop: peer does not read")
	// ErrTruncated means that a seqpacket message was larger than the read buffer.
	ErrTruncated = errors.New("evloop: message larger than the read buffer")
)
