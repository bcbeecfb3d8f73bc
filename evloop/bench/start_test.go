// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// TestStartFile: the file says what the README does, and leaves nothing open.
func TestStartFile(t *testing.T) {
	if n := len(startServices()); n != 20 {
		t.Errorf("the file has %d services, want 20", n)
	}
	addresses, err := startAddresses()
	if err != nil {
		t.Fatal(err)
	}
	text := Rig{Dir: "/nowhere"}.startConfig(addresses)
	for i, a := range addresses {
		if n := strings.Count(text, `"`+a+`"`); n != 1 {
			t.Errorf("the file has address %d %d times, want once", i, n)
		}
	}
	if at := strings.Index(text, `"{`); at >= 0 {
		t.Errorf("the file leaves something open: %.40s", text[at:])
	}
}
