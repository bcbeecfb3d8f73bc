// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An injection is one error, at some of the calls.
type injection struct {
	call
	errno unix.Errno
	when  string
}

func (i injection) String() string {
	return i.key() + "/" + unix.ErrnoName(i.errno) + "/" + i.when
}

// key tells the rows of the table apart.
func (c call) key() string {
	if c.on != "" {
		return c.name + " of " + strings.Trim(strings.TrimPrefix(c.on, "anon_inode:"), "[]")
	}
	return c.name
}

// options are those of strace.
func (i injection) options(trace string) []string {
	o := []string{"-f", "-o", trace, "-e", fmt.Sprintf("inject=%s:error=%d:when=%s", i.name, i.errno, i.when)}
	traced := i.name
	if i.under != "" {
		name, _, _ := strings.Cut(i.under, ":")
		o, traced = append(o, "-e", "inject="+i.under), traced+","+name
	}
	if i.on != "" {
		o = append(o, "-P", i.on)
	}
	return append(o, "-e", "trace="+traced)
}

// A schedule says which errors are injected. Within a limited time they are
// a random choice, but for one of each call.
type schedule struct {
	seed uint64
	end  time.Time // zero: no limit
}

// newSchedule takes what a test may take of the time; 0: no limit.
func newSchedule(t *testing.T, limit time.Duration) schedule {
	s := schedule{seed: *order}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano())
	}
	if limit > 0 {
		s.end = time.Now().Add(limit)
	}
	t.Logf("-order %d", s.seed)
	return s
}

// all plays the errors of a table, and fails for each call that nothing made.
// inject returns how many calls have failed.
func (s schedule) all(t *testing.T, table []call, backend string, inject func(*testing.T, injection) int) {
	rng := rand.New(rand.NewPCG(s.seed, 0))
	var first, others []injection
	for _, c := range table {
		if c.backend != "" && c.backend != backend {
			continue
		}
		when := c.rhythms
		if when == nil {
			when = rhythms
		}
		one := rng.IntN(len(c.errnos))
		for n, errno := range c.errnos {
			for _, w := range when {
				if i := (injection{c, errno, w}); n == one && w == when[0] {
					first = append(first, i)
				} else {
					others = append(others, i)
				}
			}
		}
	}
	if !s.end.IsZero() {
		rng.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	}
	hits, played := map[string]int{}, map[string]int{}
	for n, i := range slices.Concat(first, others) {
		if n >= len(first) && !s.end.IsZero() && time.Now().After(s.end) {
			break
		}
		t.Run(i.String(), func(t *testing.T) {
			played[i.key()]++
			hits[i.key()] += inject(t, i)
		})
	}
	for key := range played {
		if hits[key] == 0 {
			t.Errorf("%s was never called", key)
		}
	}
	t.Logf("injections: %v, of %d\ncalls that failed: %v", played, len(first)+len(others), hits)
}
