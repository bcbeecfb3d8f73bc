// SPDX-License-Identifier: Apache-2.0

// Package journal is a [slog.Handler] that writes to the journal of systemd by
// its native protocol, or to standard error where there is no journal. It never
// waits for a reader: what cannot be delivered waits in a bounded queue, and
// what does not fit there is counted and reported. The package never logs.
//
//	journal.go    which of the two, and how     JOURNAL_STREAM  systemd.exec(5), sd-daemon(3)
//	handler.go    slog's records
//	encoder.go    attributes to fields and text                 systemd.journal-fields(7)
//	native.go     the bytes of a field                          https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
//	sink.go       the queue that never blocks                   systemd-journald.service(8)
//	transport.go  the journal's socket, or a stream
//
// # Why nothing of go-systemd is used
//
// journal.Send spins while journald does not read, needs /dev/shm for large records,
// and lets a newline in a field's name forge another field. For the comparison of
// JOURNAL_STREAM with standard error it would bring the scanner of package fmt, some
// 30 KB, for two numbers.
package journal
