// SPDX-License-Identifier: Apache-2.0

package config

// KindChargen sends a pattern for as long as the client reads (RFC 864).
const KindChargen Kind = "chargen"

var chargenKind = kind{
	name:     KindChargen,
	overflow: answering,
	defaults: listening,
	try:      func(_ *Service, to string) string { return "nc -d " + to + " | head -n 3" },
}
