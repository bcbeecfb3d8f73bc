// SPDX-License-Identifier: Apache-2.0

package boards

import "testing"

// TestStreamSteps has a row for each phase and a column for each trigger.
func TestStreamSteps(t *testing.T) {
	type cell struct {
		next phase
		do   act
	}
	stays := func(p phase) cell { return cell{p, nothing} }
	tests := map[phase][7]cell{
		// opened, closed, due, spent, answered, gone, there
		even: {{behind, wait}, stays(even), stays(even), stays(even), stays(even), stays(even), stays(even)},
		behind: {
			stays(behind),
			{even, rest},
			{asked, request},
			{asked, request},
			stays(behind),
			{parked, park},
			stays(behind),
		},
		asked: {
			stays(asked),
			{even, rest},
			{asked, request},
			{even, giveUp},
			{behind, follow},
			{parked, park},
			stays(asked),
		},
		parked: {
			stays(parked),
			{even, rest},
			{even, giveUp},
			{even, giveUp},
			stays(parked), stays(parked),
			{behind, wait},
		},
	}
	for p, row := range tests {
		for i, want := range row {
			next, do := p.step(trigger(i))
			if next != want.next || do != want.do {
				t.Errorf("%v, %v: %v, %v; want %v, %v", p, trigger(i), next, do, want.next, want.do)
			}
		}
	}
}

// TestCatchSteps does so for a room that begins.
func TestCatchSteps(t *testing.T) {
	type cell struct {
		next catchPhase
		do   catchAct
	}
	begins, stays := cell{looking, search}, func(p catchPhase) cell { return cell{p, stay} }
	tests := map[catchPhase][7]cell{
		// began, found, came, due, left, cut off, connected
		settled: {
			begins, stays(settled), stays(settled), stays(settled),
			stays(settled), stays(settled), stays(settled),
		},
		looking: {begins, {waiting, askOne}, stays(looking), {settled, proceed}, stays(looking), {looking, pause}, begins},
		waiting: {begins, stays(waiting), {settled, proceed}, begins, begins, {looking, pause}, stays(waiting)},
	}
	for p, row := range tests {
		for i, want := range row {
			next, do := p.step(catchTrigger(i))
			if next != want.next || do != want.do {
				t.Errorf("%v, %v: %v, %v; want %v, %v", p, catchTrigger(i), next, do, want.next, want.do)
			}
		}
	}
}
