// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"math"
	"time"

	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/service"
)

// How records are read that this version or an older one has written (handover_save.go).

// oldestRead is the oldest version of records that this process reads. A test changes it.
var oldestRead uint64 = 1

// goOn takes what the former process knew as a whole.
func (d *Daemon) goOn(r *handover.Records) error {
	in := record.NewReader(field(r.Process, fieldDaemon))
	version := in.Number()
	if version < oldestRead || version > recordVersion {
		return fmt.Errorf("records of version %d, this process reads %d to %d: %w", version, oldestRead, recordVersion, record.ErrDamaged)
	}
	last := in.Number()
	if err := in.Err(); err != nil {
		return err
	}
	d.reads, d.lastID = version, max(d.lastID, last)
	d.loadDrained(field(r.Process, fieldDrained))
	return nil
}

// field returns the data of the field of that name, or nil.
func field(list []handover.Field, name string) []byte {
	for _, f := range list {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// A client is what the record of one says.
type client struct {
	service   string
	saved     []byte // for evloop
	companion bool   // the record is of a Companion, and not of the client's own connection

	remnant bool          // of one whose client was gone before; it has no service
	stall   time.Duration // of a remnant
}

// readClient reads a record. It returns false if that is of something else, or damaged.
func readClient(data []byte) (c client, ok bool) {
	in := record.NewReader(data)
	switch tag := in.Number(); tag {
	case tagClient, tagCompanion:
		c.service, c.companion = string(in.Text()), tag == tagCompanion
	case tagRemnant:
		c.companion, c.remnant = true, true
		c.stall = time.Duration(min(in.Number(), math.MaxInt64))
	default:
		return c, false
	}
	c.saved = in.Text()
	return c, in.Err() == nil
}

// known is what Saved has written of a client, beside its session.
type known struct {
	quiet   silent
	watched watching
	own     []byte // of the service

	unannounced *announcing // its proxy has not said yet who the client is; nil: it has, or there is none
}

// readKnown reads a record of the version that the former process wrote.
func (d *Daemon) readKnown(s *service.Session, state []byte) (k known, err error) {
	in := record.NewReader(state)
	if err := s.Load(in); err != nil {
		return k, err
	}
	k.quiet = loadSilent(in)
	if d.reads >= 2 {
		k.watched = watchedByKernel
		if in.Bool() {
			k.watched = watchedByUs
		}
	}
	k.own = in.Text()
	k.unannounced, err = loadAnnounced(s, in)
	return k, err
}
