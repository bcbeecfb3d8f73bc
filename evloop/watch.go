// SPDX-License-Identifier: Apache-2.0

package evloop

import "fmt"

// A Watch reports events of a descriptor that is no stream: a pidfd, a timerfd,
// an inotify queue, a pressure file.
type Watch struct {
	loop      *Loop
	h         WatchHandler
	fd        int
	events    uint32
	slot, gen uint32
	closed    bool
}

// Watch begins to report events (EPOLLIN, EPOLLPRI, …; edge-triggered) of fd,
// which stays the caller's and must be open until Close. Errors are those of
// epoll_ctl(2).
func (l *Loop) Watch(fd int, events uint32, h WatchHandler) (*Watch, error) {
	l.checkCaller()
	if l.closed {
		return nil, fmt.Errorf("evloop: watch fd %d: %w", fd, ErrLoopClosed)
	}
	w := &Watch{loop: l, h: h, fd: fd, events: events}
	w.slot, w.gen = l.watches.insert(w)
	if err := w.watch(); err != nil {
		l.watches.remove(w.slot)
		return nil, fmt.Errorf("evloop: watch fd %d: %w", fd, err)
	}
	return w, nil
}

func (w *Watch) watch() error {
	return w.loop.sys.watch(w.fd, w.events, newToken(sourceWatch, w.slot, w.gen))
}

// FD returns the watched descriptor.
func (w *Watch) FD() int { return w.fd }

// Close ends the watch and leaves the descriptor open. It may be called in
// Ready, and more than once.
func (w *Watch) Close() {
	w.loop.checkCaller()
	if w.closed {
		return
	}
	w.closed = true
	w.loop.watches.remove(w.slot)
	w.loop.sys.epollDel(w.fd)
}
