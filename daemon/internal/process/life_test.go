// SPDX-License-Identifier: Apache-2.0

package process

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestStep walks over every cell: each state, wanted or not, with each trigger.
// What is not in the table must change nothing.
func TestStep(t *testing.T) {
	w, u := false, true // wanted, unwanted
	type cell struct {
		state    state
		unwanted bool
		t        trigger
	}
	table := map[cell]struct {
		next life
		do   effect
	}{
		{idle, w, start}: {life{starting, w}, doFork},
		{idle, w, stop}:  {life{over, u}, doEnd},

		{starting, w, forked}:    {life{launching, w}, doLaunch},
		{starting, w, notForked}: {life{waiting, w}, doComplain | doWait},
		{starting, w, stop}:      {life{starting, u}, nothing},
		{starting, u, forked}:    {life{launching, u}, doLaunch | doKill},
		{starting, u, notForked}: {life{over, u}, doComplain | doEnd},

		{launching, w, runs}:   {life{running, w}, doAdopt | doGreet},
		{launching, w, notRun}: {life{failing, w}, doAbandon | doKill},
		{launching, w, exited}: {life{early, w}, doReap},
		{launching, w, stop}:   {life{launching, u}, doKill},
		{launching, u, runs}:   {life{killed, u}, doAdopt},
		{launching, u, notRun}: {life{failing, u}, doAbandon | doKill},
		{launching, u, due}:    {life{launching, u}, doKill},
		{launching, u, exited}: {life{early, u}, doReap},

		{early, w, runs}:   {life{gone, w}, doAdopt | doGreet | doRest},
		{early, w, notRun}: {life{waiting, w}, doAbandon | doComplain | doWait},
		{early, w, stop}:   {life{early, u}, nothing},
		{early, u, runs}:   {life{gone, u}, doAdopt | doRest},
		{early, u, notRun}: {life{over, u}, doAbandon | doComplain | doEnd},

		{failing, w, due}:    {life{failing, w}, doKill},
		{failing, u, due}:    {life{failing, u}, doKill},
		{failing, w, exited}: {life{waiting, w}, doReap | doComplain | doWait},
		{failing, w, stop}:   {life{failing, u}, nothing},
		{failing, u, exited}: {life{over, u}, doReap | doComplain | doEnd},

		{running, w, hangup}: {life{asked, w}, doAsk},
		{running, w, stop}:   {life{asked, u}, doAsk},
		{running, w, exited}: {life{gone, w}, doReap | doRest},
		{running, u, hangup}: {life{asked, u}, doAsk},
		{running, u, exited}: {life{gone, u}, doReap | doRest},

		{asked, w, due}:     {life{termed, w}, doTerm},
		{asked, w, stop}:    {life{asked, u}, nothing},
		{asked, w, exited}:  {life{gone, w}, doReap | doRest},
		{asked, u, due}:     {life{termed, u}, doTerm},
		{asked, u, exited}:  {life{gone, u}, doReap | doRest},
		{termed, w, due}:    {life{killed, w}, doKill},
		{termed, w, stop}:   {life{termed, u}, nothing},
		{termed, w, exited}: {life{gone, w}, doReap | doRest},
		{termed, u, due}:    {life{killed, u}, doKill},
		{termed, u, exited}: {life{gone, u}, doReap | doRest},
		{killed, w, due}:    {life{killed, w}, doKill},
		{killed, u, due}:    {life{killed, u}, doKill},
		{killed, w, stop}:   {life{killed, u}, nothing},
		{killed, w, exited}: {life{gone, w}, doReap | doRest},
		{killed, u, exited}: {life{gone, u}, doReap | doRest},

		{gone, w, silent}: {life{waiting, w}, doBury | doWait},
		{gone, w, due}:    {life{waiting, w}, doBury | doWait},
		{gone, w, stop}:   {life{gone, u}, nothing},
		{gone, u, silent}: {life{over, u}, doBury | doEnd},
		{gone, u, due}:    {life{over, u}, doBury | doEnd},

		{waiting, w, due}:  {life{starting, w}, doFork},
		{waiting, w, stop}: {life{over, u}, doEnd},
	}
	for s := range state(states) {
		for _, unwanted := range []bool{w, u} {
			for tr := range trigger(triggers) {
				from := life{s, unwanted}
				want, ok := table[cell{s, unwanted, tr}]
				if !ok {
					want.next, want.do = from, nothing
				}
				if reachable := !(unwanted && (s == idle || s == waiting)) && !(s == over && !unwanted); !reachable {
					continue
				}
				if next, do := step(from, tr); next != want.next || do != want.do {
					t.Errorf("%v on %v: %v with effects %#b, want %v with %#b", from, tr, next, do, want.next, want.do)
				}
			}
		}
	}
}

// TestLives: the order of effects over whole lives. Each process that was forked
// is reaped once, the pipes of each are adopted or abandoned, and all is over once
// it is not wanted.
func TestLives(t *testing.T) {
	for _, tt := range []struct {
		name     string
		triggers []trigger
		last     state
		do       []effect // of each trigger
	}{
		{
			"a life, and the next one",
			[]trigger{start, forked, runs, exited, silent, due},
			starting,
			[]effect{doFork, doLaunch, doAdopt | doGreet, doReap | doRest, doBury | doWait, doFork},
		},
		{
			"there is no such file",
			[]trigger{start, forked, notRun, exited, due},
			starting,
			[]effect{doFork, doLaunch, doAbandon | doKill, doReap | doComplain | doWait, doFork},
		},
		{
			"it ends before the loop has seen it run",
			[]trigger{start, forked, exited, runs, due},
			waiting,
			[]effect{doFork, doLaunch, doReap, doAdopt | doGreet | doRest, doBury | doWait},
		},
		{
			"stopped while it runs, and stubborn",
			[]trigger{start, forked, runs, stop, due, due, stop, exited, silent},
			over,
			[]effect{doFork, doLaunch, doAdopt | doGreet, doAsk, doTerm, doKill, nothing, doReap | doRest, doBury | doEnd},
		},
		{
			"stopped while it starts",
			[]trigger{start, stop, forked, runs, exited, silent},
			over,
			[]effect{doFork, nothing, doLaunch | doKill, doAdopt, doReap | doRest, doBury | doEnd},
		},
		{"stopped before it starts", []trigger{stop, start}, over, []effect{doEnd, nothing}},
	} {
		var l life
		for i, tr := range tt.triggers {
			var do effect
			if l, do = step(l, tr); do != tt.do[i] {
				t.Errorf("%s: effects %#b of trigger %d (%v), want %#b", tt.name, do, i, tr, tt.do[i])
			}
		}
		if l.state != tt.last {
			t.Errorf("%s: ends as %v, want %v", tt.name, l.state, tt.last)
		}
	}
}

// TestNames: a state or trigger that is added has a name.
func TestNames(t *testing.T) {
	if names := slices.Concat(stateNames[:], triggerNames[:]); slices.Contains(names, "") || strings.Join(names, "") == "" {
		t.Errorf("names %q", names)
	}
}

// TestBackOff: the wait doubles up to its bound, and begins anew after a run that
// was long.
func TestBackOff(t *testing.T) {
	b := backOff{first: time.Second, most: 30 * time.Second, stable: time.Minute}
	for i, tt := range []struct{ ran, want time.Duration }{
		{0, time.Second},
		{time.Second, 2 * time.Second},
		{0, 4 * time.Second},
		{0, 8 * time.Second},
		{0, 16 * time.Second},
		{0, 30 * time.Second},
		{59 * time.Second, 30 * time.Second},
		{time.Minute, time.Second}, // a stable minute
	} {
		if got := b.next(tt.ran); got != tt.want {
			t.Errorf("step %d: waits %v, want %v", i, got, tt.want)
		}
	}
}
