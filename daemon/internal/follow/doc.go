// SPDX-License-Identifier: Apache-2.0

// Package follow reads a file that grows, by its name, through every way of rotation.
//
//	follow.go   a look: what has come, and whether another file has the name now
//	begin.go    where the first look begins: before the last lines, or where a former process was
//	watch.go    inotify(7): when another look is due
//
// Events only say that it is time to look. What has happened is found out from the
// files themselves, anew each time, so that an event that is lost, comes late or twice
// changes nothing. The alternative, to act on what each event says, has to be right for
// every order of events, and is blind after an overflow of the queue.
//
// A disk may take seconds for any of the calls, so a look belongs on a goroutine of its
// own. There is none between two looks: the loop watches the queue of events.
package follow
