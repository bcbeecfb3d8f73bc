// SPDX-License-Identifier: Apache-2.0

// Package systemd speaks the protocols between a service and systemd that
// need no library on the other side: environment variables, descriptors and
// datagrams.
package systemd
