// SPDX-License-Identifier: Apache-2.0

// Package proxyproto writes and reads the header of the PROXY protocol: a proxy tells the
// server behind it who the client is, in front of the client's first byte (haproxy.org,
// doc/proxy-protocol.txt).
//
//	version 1   PROXY TCP4 192.0.2.1 198.51.100.7 56324 443 CR LF
//	version 2   signature (12)  0x20 | command  family << 4 | transport  length (2)
//	            addresses and ports, then TLVs: length bytes together
//
// The header cannot be told from bytes of a client. So whoever reads it must know from
// elsewhere that the peer is a proxy and sends one.
package proxyproto
