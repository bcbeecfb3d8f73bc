// SPDX-License-Identifier: Apache-2.0

package main

// reasons says what the words of the daemon mean, as penstock(8) does. A word that is not
// here is shown alone.
var reasons = map[string]string{
	"address":         "not in allow, or in deny",
	"uid":             "not in allow_uid",
	"max_connections": "the service was full",
	"per_source":      "too many connections from there",
	"peer_unknown":    "gone before it could be asked who it was",
	"proxy_header":    "a proxy sent no valid header",

	"idle":                "no byte went either way for idle_timeout",
	"overflow":            "its queue was full",
	"memory":              "all queues together were at limits.memory",
	"input_full":          "it sent more than the service may keep",
	"stalled":             "it took no output for stall_timeout",
	"flush_timeout":       "it did not take the rest of its output in time",
	"aborted":             "broken off by the service",
	"shutdown":            "the service ended",
	"kicked":              "ended by an administrator",
	"timeout":             "the network gave no answer",
	"unreachable":         "the network has no way to it",
	"line_too_long":       "it sent a line above max_line",
	"reply_lost":          "a reply did not fit its queue",
	"not_taken":           "the program did not take what it sent",
	"no_backend":          "the other server could not be reached",
	"backend_failed":      "the other server broke off",
	"source_gone":         "the device or program went away",
	"not_started":         "its program could not be started",
	"handover_expired":    "not taken over in time by the next process",
	"handover_unreadable": "not understood by the next process",
	"handover_incomplete": "not passed on to the next process",
	"error":               "an error that the log tells",

	"no_delimiter": "a last message without its end",
	"unanswered":   "no answer came",
	"absent":       "the device or program was away",
	"held":         "another client held it",
}
