// SPDX-License-Identifier: Apache-2.0

package daemon

import (
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

// listValues tells the values of the process, and then those of the services.
func (k *controlSocket) listValues(a *asker) (func() bool, *control.Error) {
	if err := a.streamed(); err != nil {
		return nil, err
	}
	eps := k.d.all()
	count := k.d.count(eps)
	var next []view.Value
	var left []view.Service
	return func() bool {
		switch {
		case !count.goOn():
			return false
		case next == nil:
			s := k.d.snapshot()
			s.Services = nil
			for _, ep := range eps { // a reload may have come between
				v := ep.view()
				v.Bytes = ep.totals(count.of(ep))
				s.Services = append(s.Services, v)
			}
			next, left = s.Values(), s.Merged()
			return false
		}
		for i, v := range next {
			a.reply(v, len(left) > 0 || i < len(next)-1)
		}
		if len(left) == 0 {
			return true
		}
		next = next[:0]
		for _, s := range portion(&left, valuePortion) {
			next = append(next, s.Values()...)
		}
		return false
	}, nil
}
