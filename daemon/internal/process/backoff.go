// SPDX-License-Identifier: Apache-2.0

package process

import "time"

// A backOff says how long to wait before the next attempt: longer after each one, up
// to a bound. The event loop has its own for accept(2), because it must not import
// packages of the daemon.
type backOff struct {
	first, most time.Duration // doubled from the one to the other
	stable      time.Duration // after an attempt that went well for so long it begins anew

	last time.Duration
}

// next returns the wait after an attempt that went well for ran.
func (b *backOff) next(ran time.Duration) time.Duration {
	if ran >= b.stable {
		b.last = 0
	}
	b.last = min(max(2*b.last, b.first), b.most)
	return b.last
}
