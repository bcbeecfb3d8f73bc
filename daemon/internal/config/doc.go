// SPDX-License-Identifier: Apache-2.0

// Package config reads penstock.toml(5) and its drop-ins into a [Config] that
// is complete and consistent, or says everything that is wrong with them.
//
// A file passes through three stages:
//
//	text --toml--> entries --keys.go--> *Service --check.go--> Config
//	      load.go  (file, line,         (types, ranges,        (what keys mean
//	               path, value)          kinds)                 together)
//
// Nothing stops at the first mistake: each stage adds to one list of [Mistake]
// values, so that a file can be put right in one edit. What a key is called
// and what it may hold stands in one row: in keys.go, or, if it belongs to one
// kind of service, in kind_NAME.go with all else that differs between kinds
// (kind.go). The tests hold reference.toml and the manual page against these.
//
// The obvious alternative, decoding into tagged structs, was rejected: the
// decoder stops at the first wrong type, matches names without regard to case,
// and cannot tell which of several files a value came from.
package config
