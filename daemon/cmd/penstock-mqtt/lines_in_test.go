// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"

	"penstock/daemon/internal/control"
)

// TestWhy: what the daemon calls an invalid parameter is named as people see it.
func TestWhy(t *testing.T) {
	for _, tt := range []struct {
		err  *control.Error
		want string
	}{
		{control.Refused("another client holds it"), "another client holds it"},
		{control.InvalidParameter("data"), reasonLines},
		{control.InvalidParameter("base64"), reasonLines},
		{control.InvalidParameter("tag"), "org.varlink.service.InvalidParameter: tag"},
	} {
		if got := why(tt.err); got != tt.want {
			t.Errorf("%v is named %q, want %q", tt.err, got, tt.want)
		}
	}
}
