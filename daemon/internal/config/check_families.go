// SPDX-License-Identifier: Apache-2.0

package config

import "errors"

// Some keys speak of TCP clients and some of Unix sockets. One that nothing in
// listen takes notice of is a mistake and not silence: its author believes to be
// safer, or more open, than he is. What is at its default does no harm.

var (
	errNoUnix    = errors.New("has no effect: no address in listen is a Unix socket")
	errNoTCP     = errors.New("has no effect: every address in listen is a Unix socket")
	errHalfUsers = errors.New("does not hold for the TCP addresses in listen, where everybody may connect; " +
		"say in allow or deny who may (everybody: [\"0.0.0.0/0\", \"::/0\"])")
)

func (b *builder) checkFamilies(d described) {
	listed, _ := d.at["listen"].value.([]any)
	if len(listed) == 0 || len(d.Listen) != len(listed) {
		return // an address that cannot be read may be of either family
	}
	unix := 0
	for _, a := range d.Listen {
		if a.Network == "unix" {
			unix++
		}
	}
	restrictsTCP := !d.Allow.Empty() || !d.Deny.Empty()
	refuse := func(err error, keys map[string]bool) {
		for key, given := range keys {
			if given {
				b.wrong(d.where(key), err)
			}
		}
	}
	switch unix {
	case 0:
		refuse(errNoUnix, map[string]bool{
			"allow_uid":    len(d.AllowUID) > 0,
			"socket_mode":  d.SocketMode != defaultSocketMode,
			"socket_user":  d.SocketUser != "",
			"socket_group": d.SocketGroup != "",
		})
	case len(d.Listen):
		refuse(errNoTCP, map[string]bool{
			"allow":       !d.Allow.Empty(),
			"deny":        !d.Deny.Empty(),
			"ip_allow":    len(d.IPAllow) > 0,
			"ip_deny":     len(d.IPDeny) > 0,
			"bind_device": d.BindDevice != "",
		})
	default:
		refuse(errHalfUsers, map[string]bool{"allow_uid": len(d.AllowUID) > 0 && !restrictsTCP})
	}
}
