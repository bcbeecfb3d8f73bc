// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The files of a spool are called by a number, and the lowest is the oldest. Each holds
// records:
//
//	4 bytes   length of the packet
//	4 bytes   CRC-32 of the time and the packet
//	8 bytes   time, milliseconds since 1970
//	          the packet
//
// A file ends where a record is not whole, as a power cut may leave it.

const (
	fileSuffix = ".mqtt"
	recordHead = 16
	// fileBound is the size from which on another file is begun.
	fileBound = memoryBound
	// firstNumber leaves room for files that come before.
	firstNumber uint64 = 1 << 32
)

// A spoolFile is one of the files.
type spoolFile struct {
	number uint64
	bytes  int64
	count  int
}

// A spoolFiles is the folder of a spool. Its user locks.
type spoolFiles struct {
	folder string
	log    *slog.Logger
	bound  int64       // diskBound, but for tests
	list   []spoolFile // the oldest first
	failed bool        // the disk takes nothing; told once
	sealed bool        // nothing is appended to the last file any more
}

// openSpool opens a folder that may not be there yet.
func openSpool(folder string, log *slog.Logger) (*spoolFiles, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	names, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	f := &spoolFiles{folder: folder, log: log, bound: diskBound, sealed: true}
	for _, name := range names {
		number, err := strconv.ParseUint(strings.TrimSuffix(name.Name(), fileSuffix), 10, 64)
		if err != nil || !strings.HasSuffix(name.Name(), fileSuffix) {
			continue
		}
		file := spoolFile{number: number}
		list, _ := f.read(file) // what cannot be read is told when its turn comes
		file.count = len(list)
		for _, p := range list {
			file.bytes += recordHead + int64(len(p.packet))
		}
		f.list = append(f.list, file)
	}
	slices.SortFunc(f.list, func(a, b spoolFile) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	return f, nil
}

func (f *spoolFiles) path(number uint64) string {
	return filepath.Join(f.folder, fmt.Sprintf("%016d", number)+fileSuffix)
}

// write appends messages, and drops the oldest file if there are too many bytes. It
// reports whether the disk took them.
func (f *spoolFiles) write(list []parcel, loaded bool, report func(string, int)) bool {
	next := firstNumber
	if n := len(f.list); n > 0 {
		next = f.list[n-1].number + 1
	}
	if n := len(f.list); n == 0 || f.sealed || f.list[n-1].bytes >= fileBound {
		f.list = append(f.list, spoolFile{number: next})
		f.sealed = false
	}
	last := &f.list[len(f.list)-1]
	b := encode(list)
	err := appendTo(f.path(last.number), last.bytes, b)
	if f.tell(err); err != nil {
		return false
	}
	last.bytes += int64(len(b))
	last.count += len(list)
	at := 0
	if loaded { // it is in memory, and what was sent of it is not to be counted
		at = 1
	}
	for f.size(loaded) > f.bound && len(f.list) > at+1 {
		report("full", f.list[at].count)
		f.remove(at)
	}
	return true
}

// appendTo writes b at the end of a file that has size bytes, and waits for the disk.
func appendTo(path string, size int64, b []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(b, size)
	if err != nil {
		err = errors.Join(err, file.Truncate(size)) // no half of it
	} else {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// tell says once that the disk takes nothing, and that it does again.
func (f *spoolFiles) tell(err error) {
	if err != nil && !f.failed {
		f.log.Warn("messages not written to the disk", slog.Any("err", err))
	}
	f.failed = err != nil
}

// first returns the messages of the oldest file, which stays until removeFirst.
func (f *spoolFiles) first() ([]parcel, bool) {
	if len(f.list) == 0 {
		return nil, false
	}
	if len(f.list) == 1 {
		f.sealed = true
	}
	list, err := f.read(f.list[0])
	f.tell(err)
	return list, true
}

func (f *spoolFiles) removeFirst() {
	if len(f.list) > 0 {
		f.remove(0)
	}
}

func (f *spoolFiles) remove(i int) {
	if err := os.Remove(f.path(f.list[i].number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.tell(err)
	}
	f.list = slices.Delete(f.list, i, i+1)
}

// writeFirst writes messages as the oldest file, and reports whether the disk took them.
func (f *spoolFiles) writeFirst(list []parcel) bool {
	number := firstNumber
	if len(f.list) > 0 {
		number = f.list[0].number - 1
	}
	b := encode(list)
	err := appendTo(f.path(number), 0, b)
	if f.tell(err); err != nil {
		return false
	}
	f.sealed = f.sealed || len(f.list) == 0
	f.list = slices.Insert(f.list, 0, spoolFile{number, int64(len(b)), len(list)})
	return true
}

// size returns the bytes of the files, without the first one, if it is loaded.
func (f *spoolFiles) size(loaded bool) (n int64) {
	for i, file := range f.list {
		if i > 0 || !loaded {
			n += file.bytes
		}
	}
	return n
}

// read returns the messages of a file, as far as they are whole.
func (f *spoolFiles) read(file spoolFile) (list []parcel, err error) {
	b, err := os.ReadFile(f.path(file.number))
	for len(b) > recordHead {
		n := int64(binary.BigEndian.Uint32(b))
		if n > longestPacket+recordHead || int64(len(b)) < recordHead+n {
			break
		}
		rest := b[8 : recordHead+n]
		if crc32.ChecksumIEEE(rest) != binary.BigEndian.Uint32(b[4:]) {
			break
		}
		at := time.UnixMilli(int64(binary.BigEndian.Uint64(rest)))
		list = append(list, parcel{at, rest[8:]})
		b = b[recordHead+n:]
	}
	return list, err
}

// encode returns the records of messages.
func encode(list []parcel) (b []byte) {
	for _, p := range list {
		at := len(b)
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.packet)))
		b = append(b, 0, 0, 0, 0)
		b = binary.BigEndian.AppendUint64(b, uint64(p.at.UnixMilli()))
		b = append(b, p.packet...)
		binary.BigEndian.PutUint32(b[at+4:], crc32.ChecksumIEEE(b[at+8:]))
	}
	return b
}
