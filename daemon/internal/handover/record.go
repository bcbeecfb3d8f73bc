// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"penstock/daemon/internal/record"
)

// The records are lists of named and numbered strings of bytes, in this order:
//
//	process   uvarint count; name and data each
//	services  uvarint count; name and data each
//	conns     uvarint count; cookie, 8 bytes little-endian, and data each
//
// A name or data is a uvarint length and bytes. They are written by hand for the reasons
// that evloop's record of a connection gives: encoding/gob would carry descriptions of
// types, and a dump of structs would tie the new binary to the old one's layout. What is
// in data is nobody's business here. The file in which the records travel has a version
// and a sum.
//
// Records can be written in one way only: two that differ have different bytes, and
// bytes that Encode would not have written are refused.

// Records are what the old process wants the new one to know.
type Records struct {
	Process  []Field // of the process as a whole
	Services []Field
	Conns    []Conn // in the order of the descriptors
}

// A Field is something with a name, which is not empty and unique in its list.
type Field struct {
	Name string
	Data []byte
}

// A Conn is a connection. Its cookie (Cookie) is not zero, and unique.
type Conn struct {
	Cookie uint64
	Data   []byte
}

// maxName is far above the 32 bytes that a service's name may have.
const maxName = 255

// ErrRecords is the error of Decode.
var ErrRecords = errors.New("handover: records are damaged")

// Encode returns the bytes. The error names a field or connection that breaks the rules
// of its type.
func (r *Records) Encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, r.bound())
	for _, list := range [...][]Field{r.Process, r.Services} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, f := range list {
			b = append(binary.AppendUvarint(b, uint64(len(f.Name))), f.Name...)
			b = append(binary.AppendUvarint(b, uint64(len(f.Data))), f.Data...)
		}
	}
	b = binary.AppendUvarint(b, uint64(len(r.Conns)))
	for _, c := range r.Conns {
		b = binary.LittleEndian.AppendUint64(b, c.Cookie)
		b = append(binary.AppendUvarint(b, uint64(len(c.Data))), c.Data...)
	}
	return b, nil
}

// bound returns at least the length of the encoding, so that it is allocated once.
func (r *Records) bound() (n int) {
	const number = binary.MaxVarintLen64
	n = 3 * number
	for _, list := range [...][]Field{r.Process, r.Services} {
		for _, f := range list {
			n += 2*number + len(f.Name) + len(f.Data)
		}
	}
	for _, c := range r.Conns {
		n += 8 + number + len(c.Data)
	}
	return n
}

// check holds the rules that the layout does not.
func (r *Records) check() error {
	for _, list := range [...][]Field{r.Process, r.Services} {
		seen := make(map[string]bool, len(list))
		for _, f := range list {
			if f.Name == "" || len(f.Name) > maxName || seen[f.Name] {
				return fmt.Errorf("handover: name %q is empty, too long or not unique", f.Name)
			}
			seen[f.Name] = true
		}
	}
	cookies := make([]uint64, len(r.Conns))
	for i, c := range r.Conns {
		cookies[i] = c.Cookie
	}
	slices.Sort(cookies)
	if len(cookies) > 0 && cookies[0] == 0 {
		return errors.New("handover: a connection has no cookie")
	}
	if len(slices.Compact(cookies)) != len(r.Conns) {
		return errors.New("handover: two connections have the same cookie")
	}
	return nil
}

// The fewest bytes that a field and a connection take. They bound what Decode allocates:
// a struct of at most 40 bytes, and what check needs, for each such piece of b.
const (
	leastField = 3
	leastConn  = 9
)

// Decode reads what Encode has written. Data aliases b. It allocates for what is in b and
// not for what b claims, and the error is ErrRecords whatever is wrong.
func Decode(b []byte) (*Records, error) {
	d := record.NewReader(b)
	r := &Records{Process: fields(d), Services: fields(d), Conns: conns(d)}
	if d.Err() != nil || r.check() != nil {
		return nil, ErrRecords
	}
	return r, nil
}

func fields(d *record.Reader) []Field {
	list := make([]Field, d.Count(leastField))
	for i := range list {
		list[i] = Field{string(d.Text()), d.Text()}
	}
	return list
}

func conns(d *record.Reader) []Conn {
	list := make([]Conn, d.Count(leastConn))
	for i := range list {
		cookie := d.Bytes(8)
		if cookie == nil {
			break
		}
		list[i] = Conn{binary.LittleEndian.Uint64(cookie), d.Text()}
	}
	return list
}
