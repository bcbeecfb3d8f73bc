// SPDX-License-Identifier: Apache-2.0

package report

import "testing"

// TestHintOfAStraySocket: a hint says what will help.
func TestHintOfAStraySocket(t *testing.T) {
	for name, want := range map[string]string{
		"removed":              "if its service was removed from the file: penstock apply",
		"penstock-mine.socket": "if its service was removed from the file: penstock apply",
		"web.socket":           "set FileDescriptorName= in web.socket to the name of a service",
	} {
		if got := hintExtra(name); got != want {
			t.Errorf("hintExtra(%q) = %q, want %q", name, got, want)
		}
	}
}
