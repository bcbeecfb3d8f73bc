// SPDX-License-Identifier: Apache-2.0

// Empty: functions of the runtime that fork_linux.go names have no body there, which the
// compiler accepts only in a package with assembly.
