// SPDX-License-Identifier: Apache-2.0

package service

import (
	"slices"
	"strconv"

	"penstock/evloop"
)

// environment returns the variables of the file, and those that tell the program who
// its client is. They have the names of ucspi-tcp (tcp-environ(5)), ucspi-unix and
// systemd's Accept=yes (systemd.exec(5)), so that programs for these run as they are.
// Names of hosts are not looked up.
func (s *exec) environment(c *evloop.Conn) []string {
	session := SessionOf(c)
	peer := session.Peer()
	env := append(slices.Clone(s.keys.Env),
		"PENSTOCK_SERVICE="+s.conf.Name, "PENSTOCK_CONN="+strconv.FormatUint(session.ID, 10))
	if !peer.Addr.IsValid() {
		return append(env, "PROTO=UNIX", "UNIXREMOTEEUID="+strconv.FormatUint(uint64(peer.UID), 10),
			"UNIXREMOTEPID="+strconv.Itoa(int(peer.PID)))
	}
	ip, port := peer.Addr.Addr().String(), strconv.Itoa(int(peer.Addr.Port()))
	env = append(env, "PROTO=TCP", "TCPREMOTEIP="+ip, "TCPREMOTEPORT="+port, "REMOTE_ADDR="+ip, "REMOTE_PORT="+port)
	if local := localAddr(c.FD()); local.IsValid() {
		env = append(env, "TCPLOCALIP="+local.Addr().Unmap().String(), "TCPLOCALPORT="+strconv.Itoa(int(local.Port())))
	}
	return env
}
