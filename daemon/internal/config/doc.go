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
// Nothing stops at the first mistake: each stage adds to one list of [Mistake]
// values, so that a file can be put right in one edit. What a key is called
// and what it may hold stands in one row: in keys.go, or, if it belongs to one
// kind of service, in kind_NAME.go with all else that differs between kinds
// (kind.go). The tests hold reference.toml and the manual page against these.
//
// Nothing costs more than the length of the text calls for: sizes, depth and
// the number of services have bounds, and of many mistakes the rest is counted.
//
// The obvious alternative, decoding into tagged structs, was rejected: a
// decoder stops at the first wrong type, matches names without regard to case,
// and cannot tell which of several files a value came from.
package config
