// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/view"
)

// Every request passes the gate, whatever it is for:
//
//	method ─► host ─► source ─► origin ─► password ─► the page, the terminal …
//	 405       421      403       403        401
//
// The name of the host is looked at because of rebinding: a page of a stranger can have
// its own name resolve to this machine, and its browser then takes our answers for that
// page's. Such a name is in the Host header, and is not one of ours. The origin is looked
// at because a browser opens a WebSocket for any page. What is no browser sends none.

// A gate says who may ask.
type gate struct {
	web      *config.Web
	password *password // nil: none is asked for
	log      *limited
	next     http.Handler
}

// policy is what a browser may do with our page: use our own files, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP answers what is refused, and passes on the rest.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")

	peer := peerOf(r)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "nothing can be changed here", http.StatusMethodNotAllowed)
	case !g.knows(r.Host):
		g.refuse(w, peer, "host", r.Host, http.StatusMisdirectedRequest, "this name is not in hosts of [web]")
	case !g.web.Admits(peer.Addr.Addr()):
		g.refuse(w, peer, "address", peer.Host(), http.StatusForbidden, "this address is not in allow of [web]")
	case !sameOrigin(r):
		g.refuse(w, peer, "origin", r.Header.Get("Origin"), http.StatusForbidden, "a page of another host may not ask")
	case g.password != nil && !g.password.ask(w, r, func() {
		g.log.refused("password", peer)
	}):
	default:
		g.next.ServeHTTP(w, r)
	}
}

func (g *gate) refuse(w http.ResponseWriter, peer view.Peer, reason, what string, status int, text string) {
	g.log.refused(reason, peer, slog.String("text", shortened(what)))
	w.Header().Set("Connection", "close") // a stranger keeps no place
	http.Error(w, text, status)
}

// excuse answers with a mistake of the configuration. Without one nothing says who may
// ask, so only this machine reads more than that there is one.
func excuse(mistake error) http.Handler {
	local := &gate{web: &config.Web{}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := "the page cannot be shown: the log of penstock-web says why"
		if local.knows(r.Host) && local.web.Admits(peerOf(r).Addr.Addr()) && sameOrigin(r) {
			text = "the page cannot be shown: " + mistake.Error()
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Connection", "close")
		http.Error(w, text, http.StatusServiceUnavailable)
	})
}

// shortened bounds what a stranger has sent.
func shortened(s string) string { return s[:min(len(s), 100)] }

// knows reports whether a Host header names this machine. An address is no name that a
// stranger could have resolved to us.
func (g *gate) knows(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return name == "localhost" || slices.Contains(g.web.Hosts, name)
}

// sameOrigin reports whether no page asks, or one of ours. A proxy for TLS may stand
// between, so the scheme does not count.
func sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return len(r.Header["Origin"]) == 0
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// peerKey is the key of a connection's peer in its context.
type peerKey struct{}

// withPeer notes who is at the other end of a connection.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if bounded, ok := c.(*boundedConn); ok {
		c = bounded.Conn
	}
	return context.WithValue(ctx, peerKey{}, peerAt(c))
}

// peerAt returns who is at the other end.
func peerAt(c net.Conn) (p view.Peer) {
	switch c := c.(type) {
	case *net.TCPConn:
		ap := c.RemoteAddr().(*net.TCPAddr).AddrPort()
		p.Addr = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	case *net.UnixConn:
		p = credentials(c)
	}
	return p
}

func peerOf(r *http.Request) view.Peer {
	p, _ := r.Context().Value(peerKey{}).(view.Peer)
	return p
}

// credentials returns the user at the other end of a Unix socket, as far as the kernel
// tells.
func credentials(c *net.UnixConn) (p view.Peer) {
	raw, err := c.SyscallConn()
	if err != nil {
		return p
	}
	_ = raw.Control(func(fd uintptr) { // without an answer the peer is unknown, which is no harm
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			p.UID, p.PID = cred.Uid, cred.Pid
		}
	})
	return p
}
