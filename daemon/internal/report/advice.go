// SPDX-License-Identifier: Apache-2.0

package report

import "time"

// Phrases that the log, the status line and penstock status have in common.

// HintMissing says what to do about an address that nothing listens on. managed is set if
// a service manager opens the sockets.
func HintMissing(managed bool) string {
	if managed {
		return hintMissing
	}
	return hintUnopened
}

// InPlace says what is served while the files are refused, and ends before the reason.
// restored is when it came into force; zero: a reload has refused the files.
func InPlace(restored time.Time) string {
	if restored.IsZero() {
		return "reload refused, the old configuration stays in force: "
	}
	return "configuration refused, serving what was applied on " + restored.Format(time.RFC3339) + ": "
}
