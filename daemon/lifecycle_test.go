// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

var triggers = []trigger{started, hangup, reloaded, terminate, handOver, prepared, stored, filled, unable, drained, idled}

// TestStep walks every pair of state and trigger: a cell that is missing from
// the table fails, so no order of signals is left to chance.
func TestStep(t *testing.T) {
	type row struct {
		next life
		do   effect
	}
	at := func(p phase) life { return life{phase: p} }
	owing := func(p phase) life { return life{phase: p, owed: true} }
	stays := func(l life) row { return row{l, noEffects} }
	stop := row{at(stopping), drain}
	leave := row{at(leaving), prepare}

	table := map[life]map[trigger]row{
		at(starting): {
			started: {at(ready), sayReady}, hangup: {owing(starting), noEffects},
			reloaded: stays(at(starting)), terminate: stop, handOver: leave, drained: stays(at(starting)), idled: stays(at(starting)),
			prepared: stays(at(starting)), stored: stays(at(starting)), filled: stays(at(starting)), unable: stays(at(starting)),
		},
		owing(starting): { // SIGHUP before READY waits until READY was said
			started: {at(reloading), sayReady | reload}, hangup: stays(owing(starting)),
			reloaded: stays(owing(starting)), terminate: stop, handOver: leave, drained: stays(owing(starting)), idled: stays(owing(starting)),
			prepared: stays(owing(starting)), stored: stays(owing(starting)), filled: stays(owing(starting)), unable: stays(owing(starting)),
		},
		at(ready): {
			started: stays(at(ready)), hangup: {at(reloading), reload},
			reloaded: stays(at(ready)), terminate: stop, handOver: leave, drained: stays(at(ready)), idled: stop,
			prepared: stays(at(ready)), stored: stays(at(ready)), filled: stays(at(ready)), unable: stays(at(ready)),
		},
		at(reloading): {
			started: stays(at(reloading)), hangup: {owing(reloading), again},
			reloaded: {at(ready), sayReady}, terminate: stop, handOver: leave, drained: stays(at(reloading)), idled: stays(at(reloading)),
			prepared: stays(at(reloading)), stored: stays(at(reloading)), filled: stays(at(reloading)), unable: stays(at(reloading)),
		},
		owing(reloading): { // many SIGHUPs during a reload make one more
			started: stays(owing(reloading)), hangup: {owing(reloading), again},
			reloaded: {at(reloading), sayReady | reload}, terminate: stop, handOver: leave, drained: stays(owing(reloading)), idled: stays(owing(reloading)),
			prepared: stays(owing(reloading)), stored: stays(owing(reloading)), filled: stays(owing(reloading)), unable: stays(owing(reloading)),
		},
		at(stopping): {
			started: stays(at(stopping)), hangup: stays(at(stopping)), reloaded: stays(at(stopping)),
			terminate: {at(stopping), finish}, drained: {at(stopping), finish}, idled: stays(at(stopping)),
			prepared: stays(at(stopping)), stored: stays(at(stopping)), filled: stays(at(stopping)), unable: stays(at(stopping)), handOver: stays(at(stopping)),
		},
		at(leaving): {
			started: stays(at(leaving)), hangup: stays(at(leaving)), reloaded: stays(at(leaving)), drained: stays(at(leaving)), idled: stays(at(leaving)),
			handOver: stays(at(leaving)), prepared: {at(storing), store}, terminate: stop, unable: stop,
			stored: stays(at(leaving)), filled: stays(at(leaving)),
		},
		at(storing): { // what says again that all is prepared has no effect
			started: stays(at(storing)), hangup: stays(at(storing)), reloaded: stays(at(storing)), drained: stays(at(storing)), idled: stays(at(storing)),
			handOver: stays(at(storing)), prepared: stays(at(storing)), terminate: stop, unable: stop,
			stored: {at(storing), freeze}, filled: {at(handedOver), noEffects},
		},
		at(handedOver): { // SIGTERM is for the next process
			started: stays(at(handedOver)), hangup: stays(at(handedOver)), reloaded: stays(at(handedOver)), drained: stays(at(handedOver)), idled: stays(at(handedOver)),
			handOver: stays(at(handedOver)), prepared: stays(at(handedOver)), terminate: stays(at(handedOver)), unable: stays(at(handedOver)),
			stored: stays(at(handedOver)), filled: stays(at(handedOver)),
		},
	}
	for from, cells := range table {
		for _, trig := range triggers {
			t.Run(fmt.Sprintf("%v owed=%v trigger %d", from.phase, from.owed, trig), func(t *testing.T) {
				want, ok := cells[trig]
				if !ok {
					t.Fatal("no row in the table")
				}
				next, do := step(from, trig)
				if (row{next, do}) != want {
					t.Errorf("step = %+v, effects %04b, want %+v, %04b", next, do, want.next, want.do)
				}
				if _, known := table[next]; !known {
					t.Errorf("step leads to %+v, which the table does not know", next)
				}
			})
		}
	}
}

// TestStepOrders feeds random orders and checks what must hold in all: nothing
// leads out of handedOver and stopping, which is announced once, and every reload that begins
// is answered by a READY before the next one begins.
func TestStepOrders(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var l life
		unanswered, drains := 0, 0
		for range 50 {
			was := l
			var do effect
			l, do = step(l, triggers[rng.IntN(len(triggers))])
			if (was.phase == handedOver || was.phase == stopping) && l.phase != was.phase {
				t.Fatalf("seed %d: left %v for %v", seed, was.phase, l.phase)
			}
			if do&sayReady != 0 {
				unanswered = 0
			}
			if do&reload != 0 {
				unanswered++
			}
			if do&drain != 0 {
				drains++
			}
			if unanswered > 1 || drains > 1 {
				t.Fatalf("seed %d: %d reloads without READY, %d drains", seed, unanswered, drains)
			}
		}
	}
}
