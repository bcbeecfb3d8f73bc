// SPDX-License-Identifier: Apache-2.0

package device

import "testing"

// cells holds every step that changes something. All others leave the life as it is.
var cells = map[life]map[trigger]struct {
	next life
	do   effect
}{
	{state: idle}: {
		start:    {life{state: opening}, doOpen},
		carried:  {life{state: up}, doAdopt},
		outdated: {life{state: lost, stale: true}, doClose},
		stop:     {life{state: over, unwanted: true}, doEnd},
	},
	{state: absent}: {
		seen:  {life{state: absent}, doSoon},
		due:   {life{state: opening}, doOpen},
		renew: {life{state: opening}, doOpen},
		stop:  {life{state: over, unwanted: true}, doEnd},
	},
	{state: opening}: {
		seen:   {life{state: opening, again: true}, nothing},
		renew:  {life{state: opening, stale: true}, nothing},
		stop:   {life{state: opening, unwanted: true}, nothing},
		opened: {life{state: up}, doAdopt | doTell},
		failed: {life{state: absent}, doComplain | doWait},
	},
	{state: opening, again: true}: {
		renew:  {life{state: opening, again: true, stale: true}, nothing},
		stop:   {life{state: opening, again: true, unwanted: true}, nothing},
		opened: {life{state: up}, doAdopt | doTell | doLook},
		failed: {life{state: absent}, doComplain | doSoon},
	},
	{state: opening, stale: true}: {
		seen:   {life{state: opening, stale: true, again: true}, nothing},
		stop:   {life{state: opening, stale: true, unwanted: true}, nothing},
		opened: {life{state: lost, stale: true}, doClose},
		failed: {life{state: opening}, doOpen},
	},
	{state: opening, unwanted: true}: {
		seen:   {life{state: opening, unwanted: true, again: true}, nothing},
		renew:  {life{state: opening, unwanted: true, stale: true}, nothing},
		opened: {life{state: lost, unwanted: true}, doClose},
		failed: {life{state: over, unwanted: true}, doEnd},
	},
	{state: up}: {
		seen:  {life{state: up}, doLook},
		gone:  {life{state: lost}, doMiss | doClose},
		renew: {life{state: lost, stale: true}, doMiss | doClose},
		stop:  {life{state: lost, unwanted: true}, doClose},
	},
	{state: lost}: {
		seen:   {life{state: lost, again: true}, nothing},
		renew:  {life{state: lost, stale: true}, nothing},
		stop:   {life{state: lost, unwanted: true}, nothing},
		closed: {life{state: absent}, doWait},
	},
	{state: lost, again: true}: {
		renew:  {life{state: lost, again: true, stale: true}, nothing},
		stop:   {life{state: lost, again: true, unwanted: true}, nothing},
		closed: {life{state: absent}, doSoon},
	},
	{state: lost, stale: true}: {
		seen:   {life{state: lost, stale: true, again: true}, nothing},
		stop:   {life{state: lost, stale: true, unwanted: true}, nothing},
		closed: {life{state: opening}, doOpen},
	},
	{state: lost, unwanted: true}: {
		seen:   {life{state: lost, unwanted: true, again: true}, nothing},
		renew:  {life{state: lost, unwanted: true, stale: true}, nothing},
		closed: {life{state: over, unwanted: true}, doEnd},
	},
	{state: over, unwanted: true}: {},
}

// TestStep looks at every cell: the steps in the table are made, and no others.
func TestStep(t *testing.T) {
	for l, row := range cells {
		for tr := range triggers {
			next, do := step(l, tr)
			want, ok := row[tr]
			if !ok {
				want.next = l
			}
			if next != want.next || do != want.do {
				t.Errorf("step(%v %+v, %v) = %+v, %b, want %+v, %b", l.state, l, tr, next, do, want.next, want.do)
			}
		}
	}
}

// TestStepEnds: whatever has happened, a device that is not wanted ends, and what was
// opened is closed by then.
func TestStepEnds(t *testing.T) {
	seenLives := map[life]bool{}
	var walk func(l life)
	walk = func(l life) {
		if seenLives[l] {
			return
		}
		seenLives[l] = true
		for tr := range triggers {
			next, do := step(l, tr)
			if do&doEnd != 0 && (next.state != over || !next.unwanted) {
				t.Errorf("step(%+v, %v) ends in %v", l, tr, next.state)
			}
			if l.state == up && next.state != up && do&doClose == 0 {
				t.Errorf("step(%+v, %v) forgets an open device", l, tr)
			}
			if l.unwanted && (do&(doOpen|doAdopt|doWait|doSoon) != 0 || !next.unwanted) {
				t.Errorf("step(%+v, %v) goes on: %+v, %b", l, tr, next, do)
			}
			walk(next)
		}
	}
	walk(life{})
	if len(seenLives) < len(cells) {
		t.Errorf("%d lives are reached, the table has %d", len(seenLives), len(cells))
	}
}
