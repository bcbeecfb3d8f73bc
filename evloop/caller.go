// SPDX-License-Identifier: Apache-2.0

//go:build !race

package evloop

// checkCaller does nothing in a program that is not built with -race; see
// caller_race.go for one that is.
func (*Loop) checkCaller() {}

// caller names no goroutine without -race.
type caller struct{}

func (*caller) enterRun() {}
func (*caller) leaveRun() {}
