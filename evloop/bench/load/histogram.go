// SPDX-License-Identifier: Apache-2.0

package load

import (
	"math/bits"
	"time"
)

// A histogram counts durations in buckets that are at most 1/32 wide, so that
// a quantile is good to about 3 %. Every duration has a bucket; none is clipped.
//
//	ns        0 … 31       one bucket for each value
//	ns       32 … 63       32 buckets of 1
//	ns       64 … 127      32 buckets of 2
//	ns      2^k … 2^(k+1)  32 buckets of 2^(k-5)
//
// Keeping every sample and sorting would be exact, but a million operations a
// second would be gigabytes.
type histogram struct {
	counts [(64 - fineBits) << fineBits]uint32
	total  uint64
	most   time.Duration
}

const fineBits = 5

func bucket(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < 1<<fineBits {
		return int(n)
	}
	exp := bits.Len64(n) - 1 - fineBits
	return (exp+1)<<fineBits | int(n>>exp)&(1<<fineBits-1)
}

// lowest returns the smallest duration of a bucket.
func lowest(b int) time.Duration {
	exp := b>>fineBits - 1
	if exp < 0 {
		return time.Duration(b)
	}
	return time.Duration(1<<fineBits|b&(1<<fineBits-1)) << exp
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(d)]++
	h.total++
	h.most = max(h.most, d)
}

// quantile returns a duration that the share q of all durations does not
// exceed. For q of 1 it is exact; without any duration it is zero.
func (h *histogram) quantile(q float64) time.Duration {
	if q >= 1 || h.total == 0 {
		return h.most
	}
	rank := uint64(q * float64(h.total))
	for b, n := range h.counts {
		if uint64(n) > rank {
			return lowest(b)
		}
		rank -= uint64(n)
	}
	return h.most
}
