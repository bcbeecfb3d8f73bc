// SPDX-License-Identifier: Apache-2.0

package service

import (
	"bytes"
	"log/slog"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// A remainder decides about what a client has sent behind its last delimiter
// when it says no more (the key at_eof). It is a line like any other, or the part
// of one on which nothing may act; then it is dropped and logged.
type remainder struct {
	take bool
	log  throttle
	lose func(reason string, messages int)
}

func newRemainder(conf *config.Service, env Env) remainder {
	return remainder{take: conf.AtEOF != config.Drop, log: newThrottle(env, 10), lose: env.Lose}
}

// line returns the rest of c's input as a line, if there is one and it is to be
// taken. It is valid until the callback returns.
func (r *remainder) line(c *evloop.Conn, f framing) (line []byte, ok bool) {
	rest := c.Input()
	if f.chop {
		line = bytes.TrimSuffix(rest, []byte{'\r'})
	} else {
		line = rest
	}
	if r.take && len(line) <= f.max {
		return line, len(line) > 0
	}
	if len(line) > 0 {
		r.lose(lostUnfinished, 1)
		r.log.record(slog.LevelWarn, "input dropped", slog.Uint64("conn", SessionOf(c).ID),
			slog.Int("bytes", len(rest)), slog.String("reason", lostUnfinished))
	}
	return nil, false
}
