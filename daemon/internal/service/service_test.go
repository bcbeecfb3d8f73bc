// SPDX-License-Identifier: Apache-2.0

package service

import (
	"testing"

	"penstock/daemon/internal/config"
)

// TestEveryKindIsMade: each kind of the configuration has a maker here, and
// nothing is made that no file can ask for.
func TestEveryKindIsMade(t *testing.T) {
	kinds := config.Kinds()
	for _, kind := range kinds {
		if makers[kind] == nil {
			t.Errorf("makers has no line for kind %q", kind)
		}
	}
	if len(makers) != len(kinds) {
		t.Errorf("makers has %d lines, package config has %d kinds", len(makers), len(kinds))
	}
}
