// SPDX-License-Identifier: Apache-2.0

package config

// KindEcho sends every byte back.
const KindEcho Kind = "echo"

var echoKind = kind{
	name:     KindEcho,
	overflow: answering,
	try:      say("hello"),
}
