// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// The journal's native protocol: a record is a sequence of fields, in one of
// two shapes,
//
//	NAME=value\n                              value without a newline
//	NAME\n <length, 8 bytes, LE> value \n     any value
//
// and one datagram or one memfd holds one record. Nothing in it is escaped, so
// a newline in a name, or in a value of the first shape, would begin a field
// that the caller did not write, such as a forged PRIORITY. Names are therefore
// mapped, never passed through, and the second shape is used for every value
// that holds a newline.
//
// Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.

// maxName is the longest name of a field that journald accepts. It drops a
// field with a longer name.
const maxName = 64

// reserved are the fields that the handler writes itself. An attribute of that
// name would be a second value of the field, and journald would take either.
var reserved = []string{
	"MESSAGE", "PRIORITY", "SYSLOG_IDENTIFIER", "TRUNCATED", "RECORD_REALTIME_USEC",
	"CODE_FILE", "CODE_LINE", "CODE_FUNC",
}

// attrPrefix goes before a name that may not stand alone.
const attrPrefix = "ATTR_"

// appendFieldName makes a name that journald accepts, [A-Z][A-Z0-9_]{0,63},
// from the groups and the key of an attribute:
//
//	peer          PEER          letters in upper case
//	http.status   HTTP_STATUS   each other character becomes one underscore,
//	                            and so does the dot between groups
//	_pid          PID           a leading underscore is for journald alone
//	2xx           ATTR_2XX      no leading digit
//	priority      ATTR_PRIORITY names that the handler writes
//
// Nothing is appended if no letter and no digit is left.
func appendFieldName(dst, prefix []byte, key string) []byte {
	mark := len(dst)
	for _, c := range prefix {
		dst = appendNameByte(dst, mark, c)
	}
	for i := range len(key) {
		dst = appendNameByte(dst, mark, key[i])
	}
	name := dst[mark:]
	if len(name) == 0 {
		return dst
	}
	if '0' <= name[0] && name[0] <= '9' || slices.ContainsFunc(reserved, func(r string) bool { return string(name) == r }) {
		dst = slices.Insert(dst, mark, []byte(attrPrefix)...)
	}
	return dst[:min(len(dst), mark+maxName)]
}

// appendNameByte maps one byte of a key. The name begins at mark.
func appendNameByte(dst []byte, mark int, c byte) []byte {
	switch {
	case 'a' <= c && c <= 'z':
		c -= 'a' - 'A'
	case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
	case !utf8.RuneStart(c):
		return dst // the rest of a character that has its underscore
	case len(dst) == mark:
		return dst
	default:
		c = '_'
	}
	return append(dst, c)
}

// appendFieldValue completes a field whose name was just appended.
func appendFieldValue(dst, val []byte) []byte {
	if bytes.IndexByte(val, '\n') < 0 {
		dst = append(dst, '=')
	} else {
		dst = append(dst, '\n')
		dst = binary.LittleEndian.AppendUint64(dst, uint64(len(val)))
	}
	dst = append(dst, val...)
	return append(dst, '\n')
}
