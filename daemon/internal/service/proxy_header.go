// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/proxyproto"
)

// proxyHeader returns what the backend is told first of the client with that session and
// descriptor, see package proxyproto; nil for nothing. If the client has come through
// another proxy, it is what that one has told.
func proxyHeader(version config.SendProxy, s *Session, fd int) []byte {
	to := s.AnnouncedTo()
	if !to.IsValid() && version != config.SendProxyOff {
		to = localAddr(fd)
	}
	switch version {
	case config.SendProxyV1:
		return proxyproto.V1(s.Peer().Addr, to)
	case config.SendProxyV2:
		return proxyproto.V2(s.Peer().Addr, to)
	}
	return nil
}

// localAddr returns where the client of fd has connected to, or the zero value if that
// is no TCP address.
func localAddr(fd int) netip.AddrPort {
	at, _ := nameOf(fd, unix.SYS_GETSOCKNAME)
	return at
}
