// SPDX-License-Identifier: Apache-2.0

package config

// KindDiscard reads and forgets (RFC 863).
const KindDiscard Kind = "discard"

var discardKind = kind{
	name:     KindDiscard,
	overflow: answering,
	try:      say("gone"),
}
