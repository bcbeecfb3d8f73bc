// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The first message carries a sealed file in memory (memfd_create(2)):
//
//	magic        8 bytes  "penstock"
//	version      4 bytes  of all that follows, and of the framing of the records
//	written      8 bytes  CLOCK_BOOTTIME in ns
//	descriptors  4 bytes  how many the writer wanted to send
//	length       8 bytes  of the records
//	records
//	crc32        4 bytes  IEEE, over all that precedes
//
// Numbers are little-endian. Magic, version, written and the sum are where they are in
// every version: so a reader knows a foreign file from a damaged one, and knows the
// newer of two files of which it can read one.
const (
	magic    = "penstock"
	headSize = 8 + 4 + 8 + 4 + 8
	sumSize  = 4
)

// Version is the one that this binary writes and reads.
const Version = 1

// MaxRecords is the most bytes of records that are written or read.
const MaxRecords = 1 << 30

// MaxAge is how long a queue may wait. A client that has waited longer has given up or
// is better served by a new connection.
const MaxAge = 5 * time.Minute

// What may be wrong with a queue. An error of Peek matches at most one of them.
var (
	ErrForeign = errors.New("written by another version of penstock")
	ErrDamaged = errors.New("damaged")
	ErrExpired = errors.New("expired")
)

// An ExpiredError says how old a queue is. It matches ErrExpired.
type ExpiredError struct{ Age time.Duration }

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("expired: it was written %v ago", e.Age.Round(time.Millisecond))
}

// Is makes errors.Is(e, ErrExpired) true.
func (e *ExpiredError) Is(target error) bool { return target == ErrExpired }

// A Header tells of what a queue holds. It has no field that its writer must set.
type Header struct {
	Version     uint32        // other than Version: the queue cannot be read
	Written     time.Duration // by the clock of Now
	Descriptors int           // how many the writer wanted to send
}

// Now reads CLOCK_BOOTTIME (clock_gettime(2)): it is the same in every process, goes on
// while the machine sleeps, and is not set by anybody.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // the clock is there since Linux 2.6.39
	}
	return time.Duration(ts.Nano())
}

// seals make the file what it was when it was checked, whoever holds it.
const seals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_SEAL

// writeFile returns a descriptor of the sealed file.
func writeFile(h Header, records []byte) (int, error) {
	if len(records) > MaxRecords {
		return -1, fmt.Errorf("records of %d bytes: %w", len(records), unix.EFBIG)
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("penstock-handover", flags)
	if err == unix.EACCES { // sysctl vm.memfd_noexec=2, kernel 6.3
		fd, err = unix.MemfdCreate("penstock-handover", flags|unix.MFD_NOEXEC_SEAL)
	}
	if err != nil {
		return -1, os.NewSyscallError("memfd_create", err)
	}
	head := h.encode(len(records))
	sum := crc32.Update(crc32.ChecksumIEEE(head), crc32.IEEETable, records)
	for _, part := range [][]byte{head, records, binary.LittleEndian.AppendUint32(nil, sum)} {
		if err := writeAll(fd, part); err != nil {
			unix.Close(fd)
			return -1, os.NewSyscallError("write", err)
		}
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

func writeAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// encode writes what is before the records, of which there are n bytes.
func (h Header) encode(n int) []byte {
	if h.Version == 0 {
		h.Version = Version
	}
	if h.Written == 0 {
		h.Written = Now()
	}
	b := append(make([]byte, 0, headSize), magic...)
	b = binary.LittleEndian.AppendUint32(b, h.Version)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.Written))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.Descriptors))
	return binary.LittleEndian.AppendUint64(b, uint64(n))
}

// readFile reads the file at fd, which stays open.
func readFile(fd int) (Header, []byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Header{}, nil, os.NewSyscallError("fstat", err)
	}
	got, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals { // EINVAL: it is not in memory
		return Header{}, nil, fmt.Errorf("%w: the file of records is not sealed", ErrDamaged)
	}
	if st.Size > headSize+MaxRecords+sumSize {
		return Header{}, nil, fmt.Errorf("%w: the file of records has %d bytes", ErrDamaged, st.Size)
	}
	b := make([]byte, st.Size)
	for n := 0; n < len(b); {
		more, err := unix.Pread(fd, b[n:], int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return Header{}, nil, os.NewSyscallError("pread64", err)
		}
		if more == 0 {
			return Header{}, nil, fmt.Errorf("%w: the file of records is short", ErrDamaged)
		}
		n += more
	}
	return parseFile(b)
}

// parseFile takes the file apart. The records alias b. A header that could be read is
// returned with the error too.
func parseFile(b []byte) (h Header, records []byte, err error) {
	n := len(b) - sumSize
	if n < headSize || string(b[:len(magic)]) != magic || crc32.ChecksumIEEE(b[:n]) != binary.LittleEndian.Uint32(b[n:]) {
		return h, nil, fmt.Errorf("%w: the sum of the records is wrong", ErrDamaged)
	}
	h.Version = binary.LittleEndian.Uint32(b[8:])
	written := binary.LittleEndian.Uint64(b[12:])
	descriptors := binary.LittleEndian.Uint32(b[20:])
	length := binary.LittleEndian.Uint64(b[24:])
	if written > math.MaxInt64 {
		return Header{}, nil, fmt.Errorf("%w: the time of writing is wrong", ErrDamaged)
	}
	h.Written = time.Duration(written)
	if h.Version != Version {
		return h, nil, fmt.Errorf("%w: version %d, want %d", ErrForeign, h.Version, Version)
	}
	if descriptors > math.MaxInt32 || length != uint64(n-headSize) {
		return h, nil, fmt.Errorf("%w: the header of the records is wrong", ErrDamaged)
	}
	h.Descriptors = int(descriptors)
	return h, b[headSize:n:n], nil
}
