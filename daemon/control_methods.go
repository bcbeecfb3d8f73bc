// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"maps"
	"slices"

	"penstock/daemon/internal/control"
	"penstock/daemon/internal/service"
	"penstock/daemon/internal/view"
	"penstock/evloop"
)

// How much of a long answer is made in a turn. A turn must stay below a millisecond, also
// on a small board, where a client costs some ten microseconds, most of it for JSON.
const (
	listPortion    = 32  // clients that are told
	countPortion   = 256 // clients whose bytes are added up
	servicePortion = 8   // services that are told
)

// A method begins to answer a call. It returns how to go on, or nil if it has answered.
type method func(k *controlSocket, a *asker) (step func() bool, err *control.Error)

// methods holds all of them. It is filled by init, since they name it themselves.
var methods map[string]method

func init() {
	methods = map[string]method{
		control.StandardInterface + ".GetInfo":                 (*controlSocket).getInfo,
		control.StandardInterface + ".GetInterfaceDescription": (*controlSocket).getDescription,
		control.Interface + ".Status":                          (*controlSocket).status,
		control.Interface + ".Services":                        (*controlSocket).services,
		control.Interface + ".List":                            (*controlSocket).list,
		control.Interface + ".Connect":                         (*controlSocket).connect,

		control.MetricsInterface + ".List":     (*controlSocket).listValues,
		control.MetricsInterface + ".Describe": (*controlSocket).describeValues,

		control.Interface + ".Kick":        (*controlSocket).kick,
		control.Interface + ".Drain":       (*controlSocket).drain,
		control.Interface + ".Resume":      (*controlSocket).resume,
		control.Interface + ".Reload":      (*controlSocket).reload,
		control.Interface + ".SetLogLevel": (*controlSocket).setLogLevel,

		control.Interface + ".Join":    (*controlSocket).join,
		control.Interface + ".Publish": (*controlSocket).publish,
		control.Interface + ".Present": (*controlSocket).present,
		control.Interface + ".Tell":    (*controlSocket).tell,
		control.Interface + ".Watch":   (*controlSocket).watchLog,
		control.Interface + ".Tap":     (*controlSocket).tap,
	}
}

// answer begins with the call of a client.
func (k *controlSocket) answer(a *asker) (step func() bool, err *control.Error) {
	if m := methods[a.call.Method]; m != nil {
		if !k.allowed(a, a.call.Method) {
			return nil, control.ErrPermission
		}
		if step, err = m(k, a); err == nil {
			k.note(a, a.call)
		}
		return step, err
	}
	name := control.InterfaceOf(a.call.Method)
	if control.Descriptions[name] == "" {
		return nil, control.InterfaceNotFound(name)
	}
	return nil, control.MethodNotFound(a.call.Method)
}

func (k *controlSocket) getInfo(a *asker) (func() bool, *control.Error) {
	if err := control.Decode(a.call.Parameters, nil); err != nil {
		return nil, err
	}
	a.reply(control.Info{
		Vendor: "penstock", Product: "penstock", Version: k.d.env.Version,
		Interfaces: slices.Sorted(maps.Keys(control.Descriptions)),
	}, false)
	return nil, nil
}

func (k *controlSocket) getDescription(a *asker) (func() bool, *control.Error) {
	var name string
	if err := control.Decode(a.call.Parameters, map[string]any{"interface": &name}, "interface"); err != nil {
		return nil, err
	}
	if control.Descriptions[name] == "" {
		return nil, control.InterfaceNotFound(name)
	}
	a.reply(control.DescriptionReply{Description: control.Descriptions[name]}, false)
	return nil, nil
}

func (k *controlSocket) status(a *asker) (func() bool, *control.Error) {
	if err := control.Decode(a.call.Parameters, nil); err != nil {
		return nil, err
	}
	eps := k.d.ordered()
	st := control.StatusOf(k.d.process())
	st.Services, st.Connections = len(eps), k.d.clients()
	for _, ep := range eps {
		if len(ep.missing()) > 0 {
			st.Degraded = append(st.Degraded, ep.conf.Name)
		}
	}
	a.reply(st, false)
	return nil, nil
}

// chosen returns the endpoints that a call is about: all, or those of one name, of which
// a reload may have left several.
func (k *controlSocket) chosen(a *asker) (eps []*endpoint, named bool, err *control.Error) {
	var name string
	if err := control.Decode(a.call.Parameters, map[string]any{"service": &name}); err != nil {
		return nil, false, err
	}
	eps, err = k.d.named(name)
	return eps, name != "", err
}

// named returns the endpoints of one name, or all if it is "".
func (d *Daemon) named(name string) ([]*endpoint, *control.Error) {
	eps := d.all()
	if name == "" {
		return eps, nil
	}
	eps = slices.DeleteFunc(eps, func(ep *endpoint) bool { return ep.conf.Name != name })
	if len(eps) == 0 {
		return nil, control.NoSuchService(name)
	}
	return eps, nil
}

// clientsOf returns the clients of some endpoints. It looks at all connections once,
// which takes some ten nanoseconds for each, however many endpoints there are.
func (d *Daemon) clientsOf(eps []*endpoint) (ids []evloop.ConnID) {
	wanted := make(map[*endpoint]bool, len(eps))
	for _, ep := range eps {
		wanted[ep] = true
	}
	for c := range d.loop.Conns() {
		if s, ok := c.State.(*service.Session); ok && wanted[endpointOf(s)] {
			ids = append(ids, c.ID())
		}
	}
	return ids
}

// portion takes up to n from the front of a list.
func portion[T any](list *[]T, n int) []T {
	n = min(n, len(*list))
	first := (*list)[:n]
	*list = (*list)[n:]
	return first
}

// list tells the clients, those of one service or all.
func (k *controlSocket) list(a *asker) (func() bool, *control.Error) {
	eps, _, err := k.chosen(a)
	if err == nil && !a.call.More {
		err = control.ErrExpectedMore
	}
	if err != nil {
		return nil, err
	}
	left := k.d.clientsOf(eps)
	return func() bool {
		told := control.Connections{Connections: []view.Conn{}}
		for _, id := range portion(&left, listPortion) {
			if c := k.d.loop.Conn(id); c != nil {
				s := service.SessionOf(c)
				v := viewConn(c, s, k.d.loop.Now())
				v.Service, v.Kernel = endpointOf(s).conf.Name, c.KernelQueued()
				told.Connections = append(told.Connections, v)
			}
		}
		a.reply(told, len(left) > 0)
		return len(left) == 0
	}, nil
}

// services tells the services, with the bytes of all their clients.
func (k *controlSocket) services(a *asker) (func() bool, *control.Error) {
	eps, named, err := k.chosen(a)
	if err == nil && !named && !a.call.More {
		err = control.ErrExpectedMore
	}
	if err != nil {
		return nil, err
	}
	count := k.d.count(eps)
	return func() bool {
		if !count.goOn() {
			return false
		}
		n := servicePortion
		if !a.call.More {
			n = len(eps) // of one name
		}
		told := control.Services{Services: []view.Service{}}
		for _, ep := range portion(&eps, n) {
			v := ep.view()
			v.Bytes = ep.totals(count.of(ep))
			v.Second, v.Minute = ep.rates.Ask(k.d.loop.Now().Sub(k.d.began), v.Bytes)
			told.Services = append(told.Services, v)
		}
		a.reply(told, len(eps) > 0)
		return len(eps) == 0
	}, nil
}

// A count adds up the bytes of all clients of some endpoints, in portions. A client that
// goes before its turn is missing; totals makes up for that.
type count struct {
	d    *Daemon
	sums map[*endpoint]view.Traffic
	left []evloop.ConnID
}

func (d *Daemon) count(eps []*endpoint) *count {
	n := &count{d: d, sums: make(map[*endpoint]view.Traffic), left: d.clientsOf(eps)}
	for _, ep := range eps {
		n.sums[ep] = ep.closed
	}
	return n
}

// goOn counts a portion, and reports whether all is counted.
func (n *count) goOn() bool {
	for _, id := range portion(&n.left, countPortion) {
		if c := n.d.loop.Conn(id); c != nil {
			s := service.SessionOf(c)
			ep := endpointOf(s)
			t := n.sums[ep]
			n.sums[ep] = view.Traffic{In: t.In + s.BytesIn(c), Out: t.Out + s.BytesOut(c)}
		}
	}
	return len(n.left) == 0
}

func (n *count) of(ep *endpoint) view.Traffic { return n.sums[ep] }

// totals returns the bytes of all clients of the endpoint that there have been, as they
// were counted. A counter must never fall, so it is at least what was told before.
func (ep *endpoint) totals(counted view.Traffic) view.Traffic {
	ep.told.In = max(ep.told.In, counted.In)
	ep.told.Out = max(ep.told.Out, counted.Out)
	return ep.told
}
