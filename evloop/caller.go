// SPDX-License-Identifier: Apache-2.0

//go:build !race

package evloop

// checkCaller costs nothing in a program that is not built with -race.
func (*Loop) checkCaller() {}

// caller is empty there, too.
type caller struct{}

func (*caller) enterRun() {}
func (*caller) leaveRun() {}
