// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var sample = &Records{
	Process:  []Field{{"next", []byte{1, 2}}, {"started", nil}},
	Services: []Field{{"lobby", []byte("room")}, {"lancelot", []byte(strings.Repeat("x", 300))}},
	Conns:    []Conn{{1, []byte("half a quest")}, {math.MaxUint64, nil}, {77, []byte{0}}},
}

func TestRecords(t *testing.T) {
	for _, want := range []*Records{sample, {}, {Conns: sample.Conns}} {
		b, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("decoded differs (-want +got):\n%s", diff)
		}
	}
}

// TestRecordsRules: what could be mistaken is not written.
func TestRecordsRules(t *testing.T) {
	tests := map[string]*Records{
		"no name":       {Services: []Field{{"", nil}}},
		"long name":     {Process: []Field{{strings.Repeat("x", maxName+1), nil}}},
		"same name":     {Services: []Field{{"a", nil}, {"b", nil}, {"a", nil}}},
		"no cookie":     {Conns: []Conn{{5, nil}, {0, nil}}},
		"same cookie":   {Conns: []Conn{{5, nil}, {6, nil}, {5, nil}}},
		"one in either": {Process: []Field{{"a", nil}}, Services: []Field{{"a", nil}}}, // allowed
	}
	for name, r := range tests {
		b, err := r.Encode()
		if (err == nil) != (name == "one in either") {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
}

// TestRecordsDamaged: no bytes but those of Encode are read.
func TestRecordsDamaged(t *testing.T) {
	whole, err := sample.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if r, err := Decode(whole[:n]); !errors.Is(err, ErrRecords) || r != nil {
			t.Errorf("%d of %d bytes: %v, %v", n, len(whole), r, err)
		}
	}
	tests := map[string][]byte{
		"more behind":    append(bytes.Clone(whole), 0),
		"long number":    {0x80, 0, 0, 0},
		"huge count":     binary.AppendUvarint(nil, math.MaxUint64),
		"huge count two": append([]byte{0}, binary.AppendUvarint(nil, math.MaxUint64)...),
		"huge count of connections": append([]byte{0, 0},
			binary.AppendUvarint(nil, math.MaxUint64)...),
		"huge name":   append([]byte{1}, binary.AppendUvarint(nil, math.MaxUint64)...),
		"no name":     {1, 0, 0, 0, 0},
		"same name":   {2, 1, 'a', 0, 1, 'a', 0, 0, 0},
		"no cookie":   {0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"same cookie": {0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0},
	}
	for name, b := range tests {
		if r, err := Decode(b); !errors.Is(err, ErrRecords) || r != nil {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

// FuzzDecode: bytes that are read are those that Encode writes, and nothing else is read.
// Decode takes memory for what is there, whatever the bytes claim.
func FuzzDecode(f *testing.F) {
	whole, err := sample.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add(binary.AppendUvarint(nil, 1<<40))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		if n := leastField*(len(r.Process)+len(r.Services)) + leastConn*len(r.Conns); n > len(b) {
			t.Errorf("%d bytes give records that take %d", len(b), n)
		}
		again, err := r.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x is encoded as %x, %v", b, again, err)
		}
	})
}

// FuzzEncode: records that are written are read as they were.
func FuzzEncode(f *testing.F) {
	f.Add("lobby", "lancelot", []byte("state"), uint64(7), uint64(9))
	f.Add("", "a", []byte{}, uint64(0), uint64(0))
	f.Fuzz(func(t *testing.T, name, other string, data []byte, a, b uint64) {
		want := &Records{
			Process:  []Field{{name, data}},
			Services: []Field{{other, nil}, {name, data}},
			Conns:    []Conn{{a, data}, {b, nil}},
		}
		text, err := want.Encode()
		bad := name == "" || other == "" || name == other || max(len(name), len(other)) > maxName || a == 0 || b == 0 || a == b
		if (err != nil) != bad {
			t.Fatalf("Encode = %v, want an error: %v", err, bad)
		}
		if bad {
			return
		}
		got, err := Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("decoded differs (-want +got):\n%s", diff)
		}
	})
}

// fileOf returns the bytes of the file of records.
func fileOf(h Header, records []byte) []byte {
	b := append(h.encode(len(records)), records...)
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// TestFileBits: whatever bit of the file is wrong, and wherever it ends, it is refused.
func TestFileBits(t *testing.T) {
	whole := fileOf(Header{Descriptors: 3}, []byte("records"))
	if _, _, err := parseFile(whole); err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(whole) {
		b := bytes.Clone(whole)
		b[bit/8] ^= 1 << (bit % 8)
		if _, records, err := parseFile(b); !errors.Is(err, ErrDamaged) || records != nil {
			t.Errorf("bit %d: %q, %v", bit, records, err)
		}
	}
	for n := range whole {
		if _, records, err := parseFile(whole[:n]); !errors.Is(err, ErrDamaged) || records != nil {
			t.Errorf("%d of %d bytes: %q, %v", n, len(whole), records, err)
		}
	}
}

// FuzzFile: a file that is read is the one that is written from what was read. The sum
// is made right, or nothing but the sum would be tried.
func FuzzFile(f *testing.F) {
	whole := fileOf(Header{Written: 1, Descriptors: 3}, []byte("records"))
	f.Add(whole[:len(whole)-sumSize])
	f.Add([]byte(magic))
	f.Add(Header{Version: 2, Written: time.Hour}.encode(0))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = binary.LittleEndian.AppendUint32(bytes.Clone(b), crc32.ChecksumIEEE(b))
		h, records, err := parseFile(b)
		switch {
		case err == nil && h.Written > 0:
			if again := fileOf(h, records); !bytes.Equal(again, b) {
				t.Errorf("%x is written as %x", b, again)
			}
		case err == nil && h.Written < 0, err != nil && records != nil:
			t.Errorf("header %+v, records %q, %v", h, records, err)
		case err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrForeign):
			t.Errorf("parseFile = %v", err)
		}
	})
}
