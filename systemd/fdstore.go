// SPDX-License-Identifier: Apache-2.0

package systemd

import (
	"errors"
	"fmt"

	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// The service manager can keep descriptors for the next process of a service. They go
// to it in a notification, and come back behind the sockets, by name (Inherited.Stored):
//
//	old process                    service manager                new process
//	Store(name, fd) ─► FDSTORE=1 ─────► name: fd ──LISTEN_FDS──► Inherit
//	Barrier ─────────► BARRIER=1              ◄──FDSTOREREMOVE── ReadyForget(status, name)
//
// A stop empties the store, a restart does not (systemd.service(5),
// FileDescriptorStoreMax=).
//
// Storing each connection by itself was rejected. The service manager takes seconds for
// thousands of them, their names have to be unique, and one that its client closes can
// be gone from the store. Store is made for a few descriptors that stand for the rest.

// maxName is the length at which the service manager refuses a name.
const maxName = 255

// Store asks the service manager to keep fd for the next process, under a name of 1 to
// 255 printable ASCII characters without a colon. The caller keeps its own copy. A name
// that is used twice belongs to both descriptors, and [Notifier.Forget] removes both.
//
// No error means that the message has been sent. The service manager never answers it:
// if its store is full, or if there is none, it only closes its copy. To be sure, store
// one end of a socket pair, wait for [Notifier.Barrier], close that end and poll the
// other: it has hung up unless the service manager holds the first.
//
// If the user has too many descriptors in flight, the error matches unix.ETOOMANYREFS,
// for Barrier as well; see unix(7). A nil Notifier keeps nothing, and the error matches
// errors.ErrUnsupported.
//
// Source: sd_notify(3). FDPOLL= needs v246.
func (n *Notifier) Store(name string, fd int) error {
	if n == nil {
		return fmt.Errorf("systemd: store %q: no service manager: %w", name, errors.ErrUnsupported)
	}
	if err := checkName(name); err != nil {
		return err
	}
	// Without FDPOLL=0 the service manager removes the end of a socket pair as soon as
	// the other one is closed, which happens when this process ends.
	return n.pass("FDSTORE=1\nFDNAME="+name+"\nFDPOLL=0", unix.UnixRights(fd), soon())
}

// Forget has the service manager close what it keeps under a name, if anything. It is
// not an error if there is nothing.
func (n *Notifier) Forget(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	return n.must(forget(name))
}

// ReadyForget is [Notifier.Ready] and [Notifier.Forget] in one message: either the
// service manager hears both, or it hears neither.
func (n *Notifier) ReadyForget(status, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	assignments := sd.SdNotifyReady + "\n" + forget(name)
	return n.state(assignments, status)
}

func forget(name string) string { return "FDSTOREREMOVE=1\nFDNAME=" + name }

// checkName tells whether the service manager takes a name. It would ignore another
// one, and keep the descriptor under the name "stored". An empty name is valid there,
// but nobody could tell it from none.
func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("systemd: name of a descriptor: %d bytes is not in 1..%d", len(name), maxName)
	}
	for i := range len(name) {
		if c := name[i]; c < ' ' || c > '~' || c == ':' {
			return fmt.Errorf("systemd: name of a descriptor: %q holds %q", name, c)
		}
	}
	return nil
}
