// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"os"
	"testing"

	"penstock/evloop/evlooptest"
)

func TestMain(m *testing.M) { os.Exit(evlooptest.Main(m)) }
