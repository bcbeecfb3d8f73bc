// SPDX-License-Identifier: Apache-2.0

package config

import "time"

// KindTicker sends a text to every client at every interval.
const KindTicker Kind = "ticker"

// Ticker sends a payload at every interval.
type Ticker struct {
	Payload  string
	Interval time.Duration
	LogInput bool // lengths and a bounded prefix of what clients send
}

var tickerKind = kind{
	name: KindTicker,
	keys: []key[Service]{
		{"payload", own(func(k *Ticker) *string { return &k.Payload }, filled(maxText))},
		{"interval", own(func(k *Ticker) *time.Duration { return &k.Interval }, duration(false, 10*time.Millisecond, year))},
		{"log_input", own(func(k *Ticker) *bool { return &k.LogInput }, flag)},
		topics,
	},
	defaults: func(s *Service) {
		listening(s)
		s.Of = &Ticker{Payload: "ping\n", Interval: 5 * time.Second}
	},
	overflow: policies{DropOldest, map[Overflow]string{
		Pause: "nobody may stop the source",
	}},
	check: func(b *builder, d described) { b.fits(d, "payload", d.Of.(*Ticker).Payload) },
}
