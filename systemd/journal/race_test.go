// SPDX-License-Identifier: Apache-2.0

//go:build race

package journal

// raceEnabled: the race detector makes sync.Pool forget at random.
const raceEnabled = true
