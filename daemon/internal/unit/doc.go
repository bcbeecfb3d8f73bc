// SPDX-License-Identifier: Apache-2.0

// Package unit turns a configuration into unit files of systemd, so that the
// one TOML file is all there is to edit:
//
//	penstock-NAME.socket            one for each service
//	penstock.service.d/50-sockets.conf    the service belongs to the sockets
//	penstock.service.d/50-handlers.conf   only with a handler: what it may run
//	penstock.service.d/50-files.conf      only for log files of a group: may read them
//	penstock.service.d/50-devices.conf    only with a bridge of a device: what it may open
//	penstock.service.d/50-proxies.conf    only with a proxy that needs the network: to where
//	penstock-web.socket            only with [web], where penstock-web is installed
//	penstock-web.service.d/50-web.conf    the same, and with a password: may read it
//	penstock.target.d/50-sockets.conf     the target wants and upholds them
//	penstock-config-error.service   only with mistakes: says them in the journal
//	penstock.target.d/50-mistakes.conf    the target wants that one too
//	penstock-keep-units.service     only if others were applied last: keeps them (lasting.go)
//	penstock.target.d/50-keep-units.conf  the target wants that one too
//
// They are written into the "normal" folder of systemd.generator(7). It ranks
// below /etc/systemd/system and /run/systemd/system and above the packages'
// folder: whatever an administrator puts under one of these names wins.
//
// The alternative was to have the administrator write the socket units and to
// keep addresses out of the TOML file. Then each address would stand in a place
// where nothing checks it against the services, and adding a service would
// take two edits that must agree.
//
// The package only reads and writes files. It asks neither the service manager
// nor the kernel, because a generator runs when neither can answer: before any
// unit, with most file systems read-only and nowhere to log to.
package unit
