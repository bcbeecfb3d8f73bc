// SPDX-License-Identifier: Apache-2.0

// Package config reads penstock.toml(5) and its drop-ins into a [Config] that
// is complete and consistent, or says everything that is wrong with them.
//
// A file passes through three stages:
//
//	text --entry.go--> entries --keys.go--> *Service --check.go--> Config
//	     (package      (file, line,         (types, ranges,        (what keys mean
//	      toml)         path, value)         kinds)                 together)
//
// No stage stops at the first mistake: each adds to one list of [Mistake] values, so
// that the author can mend a file in one edit. One row holds the name of a key and
// what it may hold. The row is in keys.go, or in kind_NAME.go if the key belongs to
// one kind of service (kind.go). Tests compare reference.toml and the manual page
// with these rows.
//
// The cost is proportional to the length of the text: sizes, depth and the number of
// services have bounds, and of many mistakes only the first hundred are listed.
//
// The alternative was to decode into tagged structs. But a decoder stops at the
// first wrong type, ignores the case of names, and cannot tell from which of several
// files a value came.
package config
