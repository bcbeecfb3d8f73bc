// SPDX-License-Identifier: Apache-2.0

// Package sdtest plays systemd's side of the protocols that package systemd
// speaks, for tests without systemd: a notify socket, bare or with a store of
// descriptors behind it, a journal that refuses what journald would refuse, and
// a way to start a process with inherited sockets. It reports errors instead of
// failing a test, so that it also serves testscript commands.
package sdtest
