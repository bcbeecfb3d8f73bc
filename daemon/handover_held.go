// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"penstock/daemon/internal/handover"
	"penstock/daemon/internal/record"
	"penstock/daemon/internal/service"
)

// What a service holds itself, such as a device, goes along wrapped in a socket.

// addHeld puts in what the service holds itself. A descriptor that cannot go along is
// opened anew by the next process.
func (p *parcel) addHeld(ep *endpoint) {
	h, ok := ep.svc.(service.Holder)
	if !ok {
		return
	}
	fd := h.Hand()
	if fd < 0 {
		return
	}
	socket, err := handover.Wrap(fd)
	closeFD(fd)
	if err != nil {
		return
	}
	var w record.Writer
	w.Number(tagHeld)
	w.Text([]byte(ep.conf.Name))
	p.add(socket, w)
}

// isHeld gives a service what it held itself, if fd is that.
func (t *takeover) isHeld(fd int, data []byte, states map[string]serviceState) bool {
	in := record.NewReader(data)
	if in.Number() != tagHeld {
		return false
	}
	t.held = append(t.held, fd)
	name := in.Text()
	if state, known := states[string(name)]; !known || state.err != nil || in.Err() != nil {
		return true
	}
	if h, ok := t.d.endpoints[string(name)].svc.(service.Holder); ok {
		if fd, err := handover.Unwrap(fd); err == nil { // or else it is opened anew
			h.Take(fd)
		}
	}
	return true
}
