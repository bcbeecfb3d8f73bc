// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"time"
)

// Rates tell how many bytes went over a service in the last second and the last minute. A
// timer that adds up all clients each second would wake an idle machine, and a busy one has
// better things to do. So a sample is taken when somebody asks, and the rate is that since
// the sample whose age is nearest to what is wanted. A program that asks each second, as
// top does, has both; the first answer after a pause has none.

// Rates holds the samples of one service. The zero value has none.
type Rates struct {
	samples []sampled // the oldest first
}

// A sampled is what was counted at a moment.
type sampled struct {
	at    time.Duration
	bytes Traffic
}

const (
	// sampleGap is the least time between two samples that are kept.
	sampleGap = 900 * time.Millisecond
	// mostSamples cover two minutes of those that ask each second.
	mostSamples = 128
)

// Ask takes a sample of what was counted by now, on any clock that does not go back. It
// returns the rates of a second and a minute, or nil where no sample is near enough.
func (r *Rates) Ask(now time.Duration, bytes Traffic) (second, minute *Traffic) {
	second, minute = r.over(time.Second, now, bytes), r.over(time.Minute, now, bytes)
	if n := len(r.samples); n == 0 || now-r.samples[n-1].at >= sampleGap {
		if n == mostSamples {
			r.samples = slices.Delete(r.samples, 0, 1)
		}
		r.samples = append(r.samples, sampled{now, bytes})
	}
	return second, minute
}

// over returns the rate since the sample whose age is nearest to window, and between half
// of it and its double.
func (r *Rates) over(window, now time.Duration, bytes Traffic) *Traffic {
	best, found := sampled{}, false
	for _, s := range r.samples {
		age := now - s.at
		if age < window/2 || age > 2*window {
			continue
		}
		if !found || (age-window).Abs() < (now-best.at-window).Abs() {
			best, found = s, true
		}
	}
	if !found {
		return nil
	}
	took := (now - best.at).Seconds()
	rate := func(a, b uint64) uint64 { return uint64(float64(a-min(a, b))/took + 0.5) }
	return &Traffic{In: rate(bytes.In, best.bytes.In), Out: rate(bytes.Out, best.bytes.Out)}
}
