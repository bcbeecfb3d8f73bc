// SPDX-License-Identifier: Apache-2.0

// Package mutationtest shows that the tests of the other packages can fail. It
// has no code of its own: `make mutate` runs its tests, which are skipped by
// `go test ./...` but for one that finds the places of the tables in the code.
//
// Each mutation in testdata brings a fault back that was mended once: a few
// lines are replaced, the package still compiles, and the tests that are named
// with it have to fail. One that survives is a gap in the tests. One whose lines
// are not found any more has to follow the code, or go with it.
//
// The sources stay as they are, since the compiler is given the changed file in
// the place of the other (the flag -overlay of the go command). A tool that
// changes every operator in turn was the alternative. It finds thousands of
// changes that harm nobody, and knows nothing of what users have met.
package mutationtest
