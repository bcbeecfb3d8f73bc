// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"slices"
	"strings"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// The interface io.systemd.Metrics, by which systemd-report gathers what all services of a
// machine count. Each value is a reply of its own, so a turn tells only some services.

// valuePortion is how many services are told in a turn. One has some twenty values.
const valuePortion = 2

// streamed checks a call without parameters that has several replies.
func (a *asker) streamed() *control.Error {
	err := control.Decode(a.call.Parameters, nil)
	if err == nil && !a.call.More {
		err = control.ErrExpectedMore
	}
	return err
}

func (k *controlSocket) describeValues(a *asker) (func() bool, *control.Error) {
	if err := a.streamed(); err != nil {
		return nil, err
	}
	families := view.Families()
	for i, f := range families {
		a.reply(f, i < len(families)-1)
	}
	return nil, nil
}

// listValues tells the values of the process, and then those of the services. Endpoints of
// one name, of which a reload may have left several, are told in the same turn, so that
// they can be merged.
func (k *controlSocket) listValues(a *asker) (func() bool, *control.Error) {
	if err := a.streamed(); err != nil {
		return nil, err
	}
	eps := k.d.all()
	count := k.d.count(eps)
	// Stable: the one in force stays the first of its name.
	slices.SortStableFunc(eps, func(a, b *endpoint) int { return strings.Compare(a.conf.Name, b.conf.Name) })
	begun := false
	return func() bool {
		if !count.goOn() {
			return false
		}
		var values []view.Value
		if !begun {
			begun = true
			values = k.d.process().Values()
		} else {
			var s view.Snapshot
			for _, ep := range portion(&eps, sameNames(eps, valuePortion)) {
				v := ep.view()
				v.Bytes = ep.totals(count.of(ep))
				s.Services = append(s.Services, v)
			}
			for _, v := range s.Merged() {
				values = append(values, v.Values()...)
			}
		}
		for i, v := range values {
			a.reply(v, len(eps) > 0 || i < len(values)-1)
		}
		return len(eps) == 0
	}, nil
}

// sameNames returns n, or as many more as it takes to part no endpoints of one name. They
// are sorted.
func sameNames(eps []*endpoint, n int) int {
	for n < len(eps) && eps[n].conf.Name == eps[n-1].conf.Name {
		n++
	}
	return n
}
