// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
)

// Who may do what is decided by what the kernel says of the other end (SO_PEERCRED and
// SO_PEERGROUPS in unix(7)), at the time of its connect(2):
//
//	look    whoever may connect, which the file's mode decides
//	join    group penstock-companion
//	reload  the daemon's own user, as which ExecReload= runs
//	act     nobody else
//	all     root, control.admins, and the user of a daemon that was started by hand
//
// The mode of the file lets in members of penstock-view. So the unit of a companion has
// both groups: SupplementaryGroups=penstock-view penstock-companion. A companion to which
// something else opens the file, such as an access list, and which is not in penstock-view,
// may not look: what is in a room is its business, and who else is connected is not.
//
// The alternative was one socket for each level. But then the level would be a matter of
// modes that an administrator may loosen for another reason.

// A right is what a method needs. The zero value is the strictest.
type right uint8

const (
	mayAct    right = iota
	mayReload       // the files of the daemon
	mayJoin         // the rooms, as a companion
	mayLook
	mayAsk // what this is
)

// rights holds what each method needs. One that is missing here is for those who may act.
var rights = map[string]right{
	control.StandardInterface + ".GetInfo":                 mayAsk,
	control.StandardInterface + ".GetInterfaceDescription": mayAsk,

	control.Interface + ".Status":   mayLook,
	control.Interface + ".Services": mayLook,
	control.Interface + ".List":     mayLook,
	control.Interface + ".Watch":    mayLook,

	control.MetricsInterface + ".List":     mayLook,
	control.MetricsInterface + ".Describe": mayLook,

	control.Interface + ".Join":    mayJoin,
	control.Interface + ".Publish": mayJoin,
	control.Interface + ".Present": mayJoin,
	control.Interface + ".Tell":    mayJoin,
	control.Interface + ".Connect": mayJoin,

	control.Interface + ".Tap":         mayAct, // it shows what people write
	control.Interface + ".Kick":        mayAct,
	control.Interface + ".Drain":       mayAct,
	control.Interface + ".Resume":      mayAct,
	control.Interface + ".SetLogLevel": mayAct,
	control.Interface + ".Reload":      mayReload,
}

// packageGroups are the groups of the package on this machine.
type packageGroups struct {
	view, companion uint32
	has             [2]bool // the machine has them
}

// findGroups reads /etc/group, which is done before the loop runs.
func findGroups() (g packageGroups) {
	known := config.GroupIDs(config.ViewGroup, config.CompanionGroup)
	g.view, g.has[0] = known[config.ViewGroup]
	g.companion, g.has[1] = known[config.CompanionGroup]
	return g
}

// A caller is the other end of a connection.
type caller struct {
	uid    uint32
	groups func() []uint32
}

// may reports whether somebody has the right.
func (k *controlSocket) may(who caller, need right) bool {
	own := who.uid == uint32(os.Geteuid())
	if need == mayAsk || who.uid == 0 || own && !k.d.env.Managed {
		return true
	}
	gids := who.groups()
	if k.d.cfg.Control.Admins.Has(who.uid, gids) {
		return true
	}
	companion := k.isCompanion(gids)
	switch need {
	case mayLook:
		return own || !companion || k.groups.has[0] && slices.Contains(gids, k.groups.view)
	case mayJoin:
		return companion
	case mayReload:
		return own
	}
	return false
}

func (k *controlSocket) isCompanion(gids []uint32) bool {
	return k.groups.has[1] && slices.Contains(gids, k.groups.companion)
}

// allowed reports whether a client may call the method, and logs it if it may not.
func (k *controlSocket) allowed(a *asker, method string) bool {
	who := caller{a.peer.UID, func() []uint32 { return groupsOf(a.conn.FD()) }}
	if k.may(who, rights[method]) {
		return true
	}
	k.log.Denied(control.ShortName(method), a.peer)
	return false
}

// note logs an act, that is, what only some may do. A message that is published is noted
// where its service is known.
func (k *controlSocket) note(a *asker, call control.Call) {
	if need := rights[call.Method]; need == mayAct || need == mayReload {
		k.log.Acted(control.ShortName(call.Method), a.peer, call.Parameters)
	}
}

const (
	usualGroups = 64
	// mostGroups is NGROUPS_MAX of the kernel (limits.h).
	mostGroups = 65536
)

// groupsOf returns the groups of the process at the other end of a Unix socket. If the
// kernel does not say, there are none, so that nobody gets a right by an error.
func groupsOf(fd int) []uint32 {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return nil
	}
	for n := usualGroups; n <= mostGroups; n *= 32 {
		gids := make([]uint32, n)
		size := uint32(4 * n)
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&gids[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch errno {
		case 0:
			return append(gids[:size/4], cred.Gid)
		case unix.ERANGE:
		default:
			return []uint32{cred.Gid}
		}
	}
	return []uint32{cred.Gid}
}
