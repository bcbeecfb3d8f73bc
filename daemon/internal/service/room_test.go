// SPDX-License-Identifier: Apache-2.0

package service

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/daemon/internal/config"
	"penstock/evloop"
)

const (
	addr1 = "192.0.2.1:4001"
	addr2 = "192.0.2.1:4002"
	addr3 = "192.0.2.1:4003"
)

// A step of a conversation: client i sends, or gets exactly these bytes.
type step struct {
	client     int
	send, want string
}

func TestRoomConversations(t *testing.T) {
	hello := func(i int) step {
		return step{i, "", fmt.Sprintf("Welcome to the chat server, 192.0.2.1:400%d\n", i)}
	}
	tests := []struct {
		name, conf string
		steps      []step
	}{
		{"lines go to all", `kind="room"`, []step{
			hello(1), hello(2),
			{1, "hi\r\nthere\n", ""},
			{1, "", addr1 + ": hi\n" + addr1 + ": there\n"},
			{2, "", addr1 + ": hi\n" + addr1 + ": there\n"},
		}},
		{"control bytes are shown as ?", `kind="room"`, []step{
			hello(1),
			{1, "a\x1b[2Jb\tc\x00\r\r\n\xe9\x9b\u009b\u202e\n", addr1 + ": a?[2Jb\tc??\n" + addr1 + ": ????\n"},
		}},
		{"names", `kind="room"`, []step{
			hello(1), hello(2),
			{1, "/nick bob\n", "* " + addr1 + " is now bob\n"},
			{2, "", "* " + addr1 + " is now bob\n"},
			{2, "/nick BOB\n", "ERR nick in use\n"},
			{2, "/nick\n", "ERR bad nick, want 1 to 24 of A-Z a-z 0-9 _ -\n"},
			{2, "/nick a b\n", "ERR bad nick, want 1 to 24 of A-Z a-z 0-9 _ -\n"},
			{2, "/nick " + strings.Repeat("x", 25) + "\n", "ERR bad nick, want 1 to 24 of A-Z a-z 0-9 _ -\n"},
			{1, "/nick Bob\n", "* bob is now Bob\n"},
			{1, "/nick Bob\nhi\n", "Bob: hi\n"},
			{2, "", "* bob is now Bob\nBob: hi\n"},
			{1, "/nick al\n", "* Bob is now al\n"},
			{2, "/nick bob\n", "* Bob is now al\n* " + addr2 + " is now bob\n"},
		}},
		{"commands", `kind="room"`, []step{
			hello(1), hello(2),
			{2, "/nick zoe\n", "* " + addr2 + " is now zoe\n"},
			{1, "/who\n", "* " + addr2 + " is now zoe\n* 2 here: " + addr1 + ", zoe\n"},
			{2, "/me  waves\x07\n", "~ zoe waves?\n"},
			{1, "", "~ zoe waves?\n"},
			{1, "/me is now root\n", "~ " + addr1 + " is now root\n"},
			{2, "", "~ " + addr1 + " is now root\n"},
			{1, "\xff\xfb\x1f\xff\xfd\x03/me is here\n", "~ " + addr1 + " is here\n"},
			{2, "", "~ " + addr1 + " is here\n"},
			{1, "//etc/passwd\n", addr1 + ": /etc/passwd\n"},
			{1, "/etc/passwd\n", "ERR no such command, want /nick /who /me /quit, or // for a line that begins with /\n"},
			{2, "", addr1 + ": /etc/passwd\n"},
		}},
		{
			"templates",
			`kind="room"` + "\nwelcome=\"{count} here, {name}\"\nmessage=\"<{name}|{peer}> {line} {x\"\njoin=\"+{name} {count}\"\nleave=\"-{name} {count}\"\necho_to_sender=false",
			[]step{
				{1, "", "1 here, " + addr1 + "\n"},
				{2, "", "2 here, " + addr2 + "\n"},
				{1, "", "+" + addr2 + " 2\n"},
				{1, "/nick a\n", "* " + addr1 + " is now a\n"},
				{1, "hi {name}\n", ""},
				{2, "", "* " + addr1 + " is now a\n<a|" + addr1 + "> hi {name} {x\n"},
				{2, "/quit\nnever seen\n", ""},
				{1, "", "-" + addr2 + " 1\n"},
			},
		},
		{"twisted: CRLF in, LF out, no commands", "kind=\"room\"\npreset=\"twisted\"", []step{
			hello(1), hello(2),
			{1, "lf only\ncrlf\r\n/who\r\n\r\n", addr1 + ": lf only\ncrlf\n" + addr1 + ": /who\n" + addr1 + ": \n"},
			{2, "", addr1 + ": lf only\ncrlf\n"},
			{1, "\x1b[2J\x7f\u009b\xff\r\n", addr1 + ": ?[2J???\n"},
		}},
		{"select-chat", "kind=\"room\"\npreset=\"select-chat\"", []step{
			{1, "NAME: bob\n", "CLIENT: 192.0.2.1\n"},
			{2, "hello?\nNAME: \nNAME: al\n", strings.Repeat("ERR say NAME: and 1 to 24 of A-Z a-z 0-9 _ - first\n", 2) + "CLIENT: 192.0.2.1\n"},
			{1, "", "(Connected: New client (2) from al@192.0.2.1)\n"},
			{2, "/who\n", ""},
			{1, "", "#[al@192.0.2.1]>> /who\n"},
			{1, "hi\x1b[2J\xff\n", ""},
			{2, "", "#[bob@192.0.2.1]>> hi?[2J?\n"}, // not to the sender
		}},
		{"history", "kind=\"room\"\nhistory=2", []step{
			hello(1),
			{1, "a\nb\n/me c\n", addr1 + ": a\n" + addr1 + ": b\n~ " + addr1 + " c\n"},
			hello(2),
			{2, "", addr1 + ": b\n~ " + addr1 + " c\n"},
			{2, "d\n", addr2 + ": d\n"},
		}},
		{"no message template, no message", "kind=\"room\"\nwelcome=\"\"\nmessage=\"\"", []step{{1, "hi\n/who\n", "* 1 here: " + addr1 + "\n"}}},
		{"too long", "kind=\"room\"\nmax_line=8", []step{hello(1), {1, strings.Repeat("x", 10), "ERR line too long\n"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := serve(t, tt.conf)
			clients := []*testClient{nil}
			for _, s := range tt.steps {
				for len(clients) <= s.client {
					clients = append(clients, r.dial())
				}
				c := clients[s.client]
				if s.send != "" {
					c.send(s.send)
				}
				c.want(s.want)
			}
		})
	}
}

// Twisted drops a line of more than 16384 bytes, and says nothing.
func TestRoomTwistedTooLong(t *testing.T) {
	r := serve(t, "kind=\"room\"\npreset=\"twisted\"\nwelcome=\"\"")
	c := r.dial()
	line := strings.Repeat("x", 16384)
	c.send(line + "\r\n")
	c.want(addr1 + ": " + line + "\n")
	c.send(line + "xy")
	c.wantEOF()
	c.conn.Close()
	r.wantEnd(ErrLineTooLong)
}

// A line without end is no line for a room that is told so, and nobody gets it;
// a whole one before FIN goes out.
func TestRoomEOF(t *testing.T) {
	r := serve(t, "kind=\"room\"\nwelcome=\"\"\nleave=\"{name} left\"\nat_eof=\"drop\"")
	a, b := r.dial(), r.dial()
	b.send("whole\nhalf")
	b.shut()
	if got, want := b.rest(), addr2+": whole\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a.want(addr2 + ": whole\n" + addr2 + " left\n")
	r.log.wait(t, "input dropped conn=2 bytes=4 reason=no_delimiter", 1)
}

// By default it is a line like any other.
func TestRoomTakesTheLastLine(t *testing.T) {
	r := serve(t, "kind=\"room\"\nwelcome=\"\"")
	a, b := r.dial(), r.dial()
	b.send("whole\nhalf\r")
	b.shut()
	a.want(addr2 + ": whole\n" + addr2 + ": half\n")
	if got, want := b.rest(), addr2+": whole\n"+addr2+": half\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// When the room closes, what was said goes out, and no goodbyes follow.
func TestRoomDrain(t *testing.T) {
	r := serve(t, "kind=\"room\"\nwelcome=\"\"\nleave=\"{name} left\"")
	a, b := r.dial(), r.dial()
	a.send("last\n")
	b.want(addr1 + ": last\n")
	r.do(func() {
		for _, c := range []*testClient{a, b} {
			r.svc.(Drainer).Drain(r.loop.Conn(c.id), nil, patience)
		}
	})
	if got, want := a.rest(), addr1+": last\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a.conn.Close()
	r.wantEnd(nil)
	b.wantEOF()
	b.conn.Close()
	r.wantEnd(nil)
}

// The history is bounded in bytes too: a newcomer who is shown it must not be
// cut off for a full queue.
func TestRoomHistoryFitsTheQueue(t *testing.T) {
	r := serve(t, "kind=\"room\"\nwelcome=\"\"\nhistory=10000\nqueue=4096")
	a := r.dial()
	line := strings.Repeat("x", 84) // 101 bytes with name and LF
	for range 100 {
		a.send(line + "\n")
		a.want(addr1 + ": " + line + "\n")
	}
	b := r.dial()
	b.send("/quit\n")
	if got := len(b.rest()); got > 2048 || got < 2048-101 {
		t.Errorf("%d bytes of history, want nearly 2048", got)
	}
	r.wantEnd(nil)
}

// One member does not read. The others get every line at once, and what
// happens to it is its policy.
func TestRoomStuckMember(t *testing.T) {
	tests := []struct {
		overflow string
		leaves   bool
	}{
		{"disconnect", true},
		{"drop-oldest", false},
		{"drop-newest", false},
	}
	for _, tt := range tests {
		t.Run(tt.overflow, func(t *testing.T) {
			r := serve(t, "kind=\"room\"\nqueue=16384\nleave=\"{name} left\"\noverflow=\""+tt.overflow+"\"")
			healthy, stuck, talker := r.dial(), r.dial(), r.dial()
			healthy.want("Welcome to the chat server, " + addr1 + "\n")
			talker.want("Welcome to the chat server, " + addr3 + "\n")
			line := strings.Repeat("x", 1000)
			want := addr3 + ": " + line + "\n"
			const lines = 2000
			late, left := 0, false
			for i := range lines {
				began := time.Now()
				talker.send(line + "\n")
				talker.wantPast(want, addr2+" left\n", &left)
				healthy.wantPast(want, addr2+" left\n", new(bool))
				if time.Since(began) > time.Second {
					late++
				}
				if i%100 == 0 {
					r.do(func() {
						if q := r.loop.Stats().Queued; q > 64<<10 {
							t.Errorf("%d bytes queued for three members with 16 KiB each", q)
						}
					})
				}
			}
			if late > lines/200 { // some may be the machine's
				t.Errorf("%d of %d lines took more than a second", late, lines)
			}
			if left {
				t.Error("the stuck member left before it could take its last line")
			}
			if !tt.leaves {
				if r.dropped.Load() == 0 {
					t.Error("nothing was dropped, nobody was disconnected")
				}
				return
			}
			got := stuck.rest()
			if !strings.HasSuffix(got, "\nERR you read too slowly, goodbye\n") {
				t.Errorf("ends with %q, want the reason", got[max(0, len(got)-80):])
			}
			stuck.conn.Close()
			r.wantEnd(evloop.ErrOverflow)
			healthy.want(addr2 + " left\n")
		})
	}
}

// wantPast is want for a line, in front of which another may have come once.
func (c *testClient) wantPast(line, other string, seen *bool) {
	c.t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	first := make([]byte, len(other))
	if _, err := io.ReadFull(c.conn, first); err != nil {
		c.t.Fatal(err)
	}
	if string(first) == other {
		*seen = true
		c.want(line)
		return
	}
	if !strings.HasPrefix(line, string(first)) {
		c.t.Fatalf("got %q", first)
	}
	c.want(line[len(first):])
}

func TestTemplate(t *testing.T) {
	tests := []struct {
		in   string
		want template
	}{
		{"", nil},
		{"plain", template{{text: "plain"}}},
		{"{name}", template{{slot: slotName}}},
		{"{{name}}{x}", template{{text: "{"}, {slot: slotName}, {text: "}{x}"}}},
		{"{peer}{count}: {line}", template{{slot: slotPeer}, {slot: slotCount}, {text: ": "}, {slot: slotLine}}},
	}
	for _, tt := range tests {
		if got := parseTemplate(tt.in); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("%q: got %v, want %v", tt.in, got, tt.want)
		}
	}
}

func BenchmarkRoomRender(b *testing.B) {
	r := newRoom(&config.Service{MaxLine: 4096, Queue: 65536, Of: &config.Room{Message: "{name}: {line}"}}, Env{Loop: new(evloop.Loop)})
	c := &evloop.Conn{State: &Session{ID: 1, Data: &member{name: addr1}}}
	line := []byte("a line of forty bytes, as people type...")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if len(r.render(r.message, SessionOf(c), line)) != 57 {
			b.Fatal("wrong line")
		}
	}
}

// A turnMeter counts, for the input of the room it stands before, what is
// taken within one turn of the loop.
type turnMeter struct {
	Service
	turn        int   // counted by a function that posts itself
	taken       []int // bytes, by turn
	outstanding bool  // the function is to post itself again
}

func (m *turnMeter) Data(c *evloop.Conn, p []byte) int {
	n := m.Service.Data(c, p)
	m.taken[m.turn] += n
	return n
}

// tick runs once a turn, for functions posted by a function wait for the next.
func (m *turnMeter) tick(l *evloop.Loop) {
	m.turn++
	m.taken = append(m.taken, 0)
	if m.outstanding {
		l.Post(func() { m.tick(l) })
	}
}

// A read full of empty lines is a million deliveries in a room of 16, and more
// in a larger one. It is spread over turns, so that whoever else has something
// to say waits for the deliveries of one turn and not for all. This is a quarter
// of such a read, which a slow machine can do, too.
func TestRoomFloodIsSpreadOverTurns(t *testing.T) {
	const members, flood = 64, 4 << 10
	const most = 16 << 10 / members // lines of one byte: 16,384 deliveries
	m := &turnMeter{taken: make([]int, 1), outstanding: true}
	r := serve(t, "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\"\noverflow=\"drop-newest\"", func(r *rig) {
		m.Service, r.svc = r.svc, m
	})
	clients := make([]*testClient, members)
	for i := range clients {
		clients[i] = r.dial()
	}
	r.do(func() { m.tick(r.loop) })
	clients[0].send(strings.Repeat("\n", flood))
	clients[0].shut()
	clients[0].rest()
	var taken []int
	r.do(func() { m.outstanding, taken = false, slices.Clone(m.taken) }) // tick comes once more

	busy, total := 0, 0
	for _, n := range taken {
		if n > most {
			t.Fatalf("%d lines taken in one turn, want %d at most", n, most)
		}
		total += n
		busy += min(n, 1)
	}
	if total != flood || busy < flood/most {
		t.Errorf("%d lines taken in %d turns, want %d in %d or more", total, busy, flood, flood/most)
	}
}

// A member whose output does not go out in time was cut, and not sent away in
// order: the daemon counts by that error.
func TestRoomDrainOfAStuckMember(t *testing.T) {
	r := serve(t, "kind=\"room\"\nqueue=\"4MiB\"")
	stuck := r.dial()
	r.do(func() {
		c := r.loop.Conn(stuck.id)
		for range 3 {
			c.Write(make([]byte, 1<<20))
		}
	})
	r.do(func() { r.svc.(Drainer).Drain(r.loop.Conn(stuck.id), nil, 10*time.Millisecond) })
	r.wantEnd(evloop.ErrFlushTimeout)
}
