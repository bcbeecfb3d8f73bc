// SPDX-License-Identifier: Apache-2.0

//go:build !evloopcheck

package evloop

// checkCaller does nothing in a program that is not built with the tag
// evloopcheck; see caller_check.go for one that is.
func (*Loop) checkCaller() {}

// caller names no goroutine without the tag.
type caller struct{}

func (*caller) enterRun() {}
func (*caller) leaveRun() {}
