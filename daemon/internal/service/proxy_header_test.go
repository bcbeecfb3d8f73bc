// SPDX-License-Identifier: Apache-2.0

package service

import (
	"net/netip"
	"testing"
)

// The header comes first, and names the client.
func TestProxySendsHeader(t *testing.T) {
	b := newBackend(t, "tcp")
	r := serve(t, to("send_proxy='v1'", b.addr()))
	c := r.client("tcp")
	say2(t, c, "hello")
	here := netip.MustParseAddrPort(c.RemoteAddr().String())
	want := "PROXY TCP4 192.0.2.1 127.0.0.1 4001 " + netip.AddrPortFrom(here.Addr(), here.Port()).String()[len("127.0.0.1:"):] + "\r\nhello"
	wantBytes(t, b.accept(), want)
}

// A client that has come through another proxy is told as that one has told it, to where
// it has connected there.
func TestProxyChain(t *testing.T) {
	b := newBackend(t, "tcp")
	r := serve(t, to("send_proxy='v1'", b.addr()), func(r *rig) {
		r.via = &Via{To: netip.MustParseAddrPort("198.51.100.7:443")}
	})
	c := r.client("unix")
	say2(t, c, "hello")
	wantBytes(t, b.accept(), "PROXY TCP4 192.0.2.1 198.51.100.7 4001 443\r\nhello")
}
