// SPDX-License-Identifier: Apache-2.0

// Package boards makes one room of the rooms of many boards, by the messages of a
// broker. It is the logic alone: what came is put in, what is to be done is taken out.
// It does no I/O, reads no clock and starts no goroutine, so that a test can play a
// hundred boards, and every fault between them, from a seed.
//
//	daemon: Join ──► Joined, Line, Landed, Names ─┐            ┌─► Send ──► broker
//	broker ────────► Up, Down, Heard ─────────────┼─► Room ────┼─► Deliver, Present ──► daemon
//	clock ─────────► Tick (when Next says) ───────┘            └─► Lost, Reach, Twin ──► log, status
//
//	room.go      what goes in
//	output.go    what comes out
//	message.go   topics and payloads
//	own.go       lines that are said here, and what is kept of them
//	state.go     what a board says of itself in a room
//	peer.go      another board: where its lines are
//	stream.go    the states of that, as a picture and as a table
//	gap.go       lines that are missing, and the asking for them
//	answer.go    what other boards ask for
//	catchup.go   a room that begins, and asks for the history
//	presence.go  who is where
//	saved.go     what outlives the process
//
// # Lines
//
// A line is named by its board, by the series of that board's numbers, and by its
// number, which is that of the daemon's feed. The feed numbers all that is said in the
// room, lines of other boards included, so the numbers of one board's own lines have
// gaps. So each line carries prev: the board may have said lines up to that number, and
// none between that and this one. Whoever has all up to prev, has all.
//
//	said   3 ◄── 7 ◄── 8 ◄── 12        a line and its prev
//	came   3           8: its prev is 7, so something in 4…7 is missing
//
// What is missing is asked for from the board that has said it. Meanwhile its later
// lines wait. What that board does not have any more, is lost, and said so with the
// board and the numbers. A line that was seen is dropped. So each board's lines come
// once, and in its order. Nothing is promised about the order of lines of two boards.
//
// The alternative is QoS 2 and a queue of the broker. It costs four packets for a line
// and a receiver, its bound is the broker's (1,000 messages in mosquitto, which then
// drops in silence), and it ends with the broker's memory.
//
// # Topics
//
// ROOM and BOARD are single levels. All have QoS 1. Filters returns what a companion
// subscribes to, with no local, retain handling 0 and without "retain as published".
//
//	penstock/board/BOARD             retained: "online", and "offline" by the will. The
//	                                 companion's, once for all its rooms. One that hears
//	                                 that its own board is offline says online again.
//	penstock/room/ROOM/line/BOARD    a line that was said there
//	penstock/room/ROOM/board/BOARD   retained: what the board says of itself; empty: it
//	                                 has no such room any more
//	penstock/room/ROOM/ask/BOARD     to that board
//	penstock/room/ROOM/answer/BOARD  to that board
//
// # Payloads
//
// JSON, of at most 64 KiB. Unknown keys are ignored, and what is no such object is
// dropped and counted. Anybody on the broker may lie: that costs at most the bounds in
// room.go.
//
//	line    {"series":"5d1…","number":12,"prev":8,"name":"ann","text":"hello"}
//	        "base64" in place of "text": bytes that are no UTF-8
//	        "before":[{"series":"…","last":40}] in the first 100 of a series: those
//	        before it, three at most, whose last lines may be missing
//	board   {"series":"5d1…","last":12,"start":8,"before":[…],"names":["ann"],"more":0}
//	        start: what was said later, was or is published in this connection
//	        more: so many names do not fit
//	ask     {"from":"me","series":"5d1…","after":3,"upto":7}   lines of that series
//	        {"from":"me","history":50}                         the last lines of all
//	        {"from":"me"}                                      are you there?
//	answer  {"from":"it","series":"5d1…","after":3,"upto":7,"lines":[…]}
//	        all it has between after and upto, which is less than was asked for if
//	        the rest does not fit
//	        {"from":"it","history":true,"lines":[{"board":"…",…},…]}
//	        {"from":"it","board":{…}} what it says of itself, as a sign of life
package boards
