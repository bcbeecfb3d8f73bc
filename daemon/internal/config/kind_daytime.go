// SPDX-License-Identifier: Apache-2.0

package config

// KindDaytime sends date and time as text and closes (RFC 867).
const KindDaytime Kind = "daytime"

var daytimeKind = kind{
	name:     KindDaytime,
	overflow: answering,
}
