// SPDX-License-Identifier: Apache-2.0

package service

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

// oneShot is a service that says one thing and closes, whatever the client
// sends: daytime, time and qotd.
type oneShot struct{ say func() []byte }

// Open says it.
func (s oneShot) Open(c *evloop.Conn) {
	c.Write(s.say())
	finish(c)
}

// Data is not called once the end has begun; it would throw p away.
func (oneShot) Data(_ *evloop.Conn, p []byte) int { return len(p) }

// EOF has nothing left to do.
func (oneShot) EOF(*evloop.Conn) {}

// Drained has nothing left to do.
func (oneShot) Drained(*evloop.Conn) {}

// Closed has nothing left to do.
func (oneShot) Closed(*evloop.Conn, error) {}

// daytime says the time in words (RFC 867). The RFC leaves the format open;
// this is what xinetd sends, always in UTC, so that a client need not ask
// where the server stands.
func daytime(now func() time.Time) func() []byte {
	return func() []byte {
		return []byte(strings.ToUpper(now().UTC().Format("02 Jan 2006 15:04:05")) + " UTC\r\n")
	}
}

// sinceRFC868 is the number of seconds from 1900 to 1970.
const sinceRFC868 = 2_208_988_800

// rfc868 says the seconds since 1900 as a 32-bit number in network order (RFC
// 868). It wraps in 2036; clients of that age are expected to know the century.
func rfc868(now func() time.Time) func() []byte {
	return func() []byte {
		return binary.BigEndian.AppendUint32(nil, uint32(now().Unix()+sinceRFC868))
	}
}

// A qotd says one of its quotes.
type qotd struct{ oneShot }

func newQOTD(conf *config.Service) *qotd {
	s := &qotd{}
	s.Adjust(conf)
	return s
}

// Adjust takes other quotes.
func (s *qotd) Adjust(conf *config.Service) { s.say = quotes(conf.Of.(*config.QOTD).Quotes) }

// Adjusted has nothing to do: nobody stays.
func (*qotd) Adjusted(*evloop.Conn) {}

// quotes says one of all, drawn anew for each client (RFC 865). The configuration
// holds them below the limit of the RFC.
func quotes(all []string) func() []byte {
	lines := make([][]byte, len(all))
	for i, q := range all {
		lines[i] = []byte(q + "\n")
	}
	return func() []byte { return lines[rand.IntN(len(lines))] }
}
