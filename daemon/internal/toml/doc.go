// SPDX-License-Identifier: Apache-2.0

// Package toml reads TOML 1.1 (https://toml.io/en/v1.1.0) for programs that
// have to tell every mistake of a file and that cannot trust its size: it knows
// the line of each key, goes on after what can be skipped, is linear in the
// text, bounds how deep things nest, and lets others run meanwhile.
//
// The obvious alternative is a library. Those for Go stop at the first mistake,
// keep lines to themselves, and copy the path of a key for each of its parts,
// so that one line of 20 KB can take gigabytes; their parser also cannot be
// stopped once it has begun. A scanner that looks at the text before the
// library does would be a second reading of the grammar, and differ somewhere.
// So this is the only reading. A test holds it against a library and its suite
// of examples: what that accepts is accepted here, with a mild problem where the
// standard forbids it, for the daemon once read its files with that library.
//
//	parse.go   statements: headers, keys with a value, what may follow
//	key.go     the names of keys, and excerpts for problems
//	table.go   tables, and which statement may add to which
//	value.go   arrays, inline tables, and what stands without quotes
//	text.go    the four kinds of strings
package toml
