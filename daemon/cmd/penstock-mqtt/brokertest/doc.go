// SPDX-License-Identifier: Apache-2.0

// Package brokertest joins the real programs by a real broker. It has no code of its own:
// `make mqtt-test` runs its tests, which need mosquitto(8) and its clients, and are skipped
// by `go test ./...`. mosquitto_pub and mosquitto_sub stand for the programs of others.
package brokertest
