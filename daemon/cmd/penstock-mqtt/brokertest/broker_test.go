// SPDX-License-Identifier: Apache-2.0

package brokertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// meter is a room whose clients say what it publishes.
const meter = `
[service.meter]
kind = "room"
listen = ["FOLDER/meter.sock"]
message = "{line}"
mqtt = { publish = "sensors/{host}/{service}", subscribe = "sensors/{host}/set" }
`

// TestMosquitto: lines go out and come in, and the board says whether it is there.
func TestMosquitto(t *testing.T) {
	h := newHouse(t)
	h.serve(t)
	b := h.board(t, "pi", "", meter)
	sub := h.sub(t, "sensors/pi/meter", "penstock/board/pi")
	sub.await(t, 1, "penstock/board/pi online")
	h.broker.await(t, 1, "sensors/pi/set (QoS 1)")
	c := b.client(t, "meter")
	c.say(t, "21.5")
	sub.await(t, 1, "sensors/pi/meter 21.5")
	h.pub(t, "sensors/pi/set", "-m", "from a topic")
	c.hear(t, "from a topic")
	b.shows(t, "connected to unix:")
	rss(t, b, 40<<10)
	b.mqtt.end()
	sub.await(t, 1, "penstock/board/pi offline")
	b.join(t)
	sub.await(t, 2, "penstock/board/pi online")
	b.mqtt.kill()
	sub.await(t, 2, "penstock/board/pi offline")
	if n := sub.count("from a topic"); n != 0 {
		t.Errorf("what came from the broker went back %d times", n)
	}
	if n := sub.count("21.5"); n != 1 {
		t.Errorf("a line was published %d times", n)
	}
}

// rss checks how much memory the companion has, in KiB.
func rss(t *testing.T, b *board, most int) {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.mqtt.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil || n > most {
		t.Errorf("%d KiB resident, %v", n, err)
	}
	t.Logf("%d KiB resident", n)
}

// TestBrokerFails: a broker that is killed, and one that is frozen, lose no line and change
// no order.
func TestBrokerFails(t *testing.T) {
	h := newHouse(t)
	h.serve(t)
	b := h.board(t, "pi", "", meter)
	b.mqtt.await(t, 1, "connected to the broker")
	c := b.client(t, "meter")
	n := 0
	say := func(count int) {
		for range count {
			n++
			c.say(t, fmt.Sprintf("line %d.", n))
		}
		c.hear(t, fmt.Sprintf("line %d.", n))
	}
	// Somebody has to be there when the broker is back, before the board is: so the lines
	// are counted where the broker writes what it gets.
	say(10)
	h.broker.await(t, 10, "Received PUBLISH from penstock-pi")
	h.broker.kill()
	say(500)
	b.mqtt.await(t, 1, "broker not reached")
	h.serve(t)
	sub := h.sub(t, "sensors/pi/meter")
	say(10)
	sub.await(t, 1, fmt.Sprintf("line %d.", n))
	if err := h.broker.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	say(500)
	if err := h.broker.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	sub.await(t, 1, fmt.Sprintf("line %d.", n))
	last := 0
	lines, _ := sub.all()
	for _, l := range lines {
		got := 0
		if _, err := fmt.Sscanf(l, "sensors/pi/meter line %d.", &got); err != nil {
			continue
		}
		if last > 0 && got != last+1 {
			t.Fatalf("%d behind %d", got, last)
		}
		last = got
	}
	if last != n {
		t.Errorf("%d of %d", last, n)
	}
	if k := b.mqtt.count("broker not reached"); k != 1 {
		t.Errorf("named %d times", k)
	}
}

// TestPassword: a wrong one is named once, with what to do; with the right one it goes.
func TestPassword(t *testing.T) {
	h := newHouse(t)
	users := filepath.Join(h.folder, "users")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", users, "pi", "right").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	h.extra = "allow_anonymous false\npassword_file " + users + "\n"
	h.serve(t)
	secret := filepath.Join(h.folder, "secret")
	if err := os.WriteFile(secret, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := h.board(t, "pi", "user = 'pi'\npassword_file = '"+secret+"'\n", meter)
	h.broker.await(t, 3, "not authorised")
	if n := b.mqtt.count("user"); n != 1 {
		t.Errorf("named %d times", n)
	}
	b.mqtt.end()
	if err := os.WriteFile(secret, []byte("right\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.join(t)
	b.mqtt.await(t, 1, "connected to the broker")
}

// TestHugePayload: a payload of 250 MB costs the board nothing, and the next one comes.
func TestHugePayload(t *testing.T) {
	h := newHouse(t)
	h.serve(t)
	b := h.board(t, "pi", "", meter)
	h.broker.await(t, 1, "sensors/pi/set (QoS 1)")
	c := b.client(t, "meter")
	file := filepath.Join(h.folder, "huge")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 250_000_000); err != nil {
		t.Fatal(err)
	}
	h.pub(t, "sensors/pi/set", "-f", file)
	h.pub(t, "sensors/pi/set", "-m", "small")
	c.hear(t, "small")
	rss(t, b, 60<<10)
}

// TestRoomOfTwo: a room is one on two boards, also after the broker was away.
func TestRoomOfTwo(t *testing.T) {
	const room = `
[service.lobby]
kind = "room"
listen = ["FOLDER/lobby.sock"]
message = "{name}: {line}"
join = "{name} came"
history = 10
mqtt = { room = "lobby" }
`
	h := newHouse(t)
	h.serve(t)
	a, b := h.board(t, "a", "", room), h.board(t, "b", "", room)
	a.mqtt.await(t, 1, "connected to the broker")
	b.mqtt.await(t, 1, "connected to the broker")
	a.shows(t, "room lobby: 1 other")
	b.shows(t, "room lobby: 1 other")
	ann, bob := a.client(t, "lobby"), b.client(t, "lobby")
	ann.say(t, "/nick ann")
	bob.say(t, "/nick bob")
	for n := range 100 {
		ann.say(t, fmt.Sprintf("a%d.", n))
		bob.say(t, fmt.Sprintf("b%d.", n))
	}
	once(t, bob, "ann: a", 100)
	ann.hear(t, "bob came")
	h.broker.kill()
	ann.hear(t, "* alone")
	for n := range 100 {
		ann.say(t, fmt.Sprintf("c%d.", n))
	}
	h.serve(t)
	once(t, bob, "ann: c", 100)
}

// once checks that numbered lines come once each, in their order.
func once(t *testing.T, c *client, prefix string, count int) {
	t.Helper()
	want := 0
	for _, l := range c.hear(t, fmt.Sprintf("%s%d.", prefix, count-1)) {
		if !strings.HasPrefix(l, prefix) {
			continue
		}
		if l != fmt.Sprintf("%s%d.", prefix, want) {
			t.Fatalf("%q, want %s%d.", l, prefix, want)
		}
		want++
	}
	if want != count-1 {
		t.Errorf("%d of %d", want+1, count)
	}
}

// TestNoLoop: two boards that publish to each other's topic say a line once.
func TestNoLoop(t *testing.T) {
	h := newHouse(t)
	h.serve(t)
	room := func(out, in string) string {
		return "[service.lobby]\nkind = 'room'\nlisten = ['FOLDER/lobby.sock']\nmessage = '{line}'\nmqtt = { publish = '" + out + "', subscribe = '" + in + "' }\n"
	}
	a, b := h.board(t, "a", "", room("x", "y")), h.board(t, "b", "", room("y", "x"))
	h.broker.await(t, 1, "y (QoS 1)")
	h.broker.await(t, 1, "x (QoS 1)")
	sub := h.sub(t, "x", "y")
	ann, bob := a.client(t, "lobby"), b.client(t, "lobby")
	ann.say(t, "round")
	bob.hear(t, "round")
	bob.say(t, "about")
	ann.hear(t, "about")
	ann.say(t, "end") // behind what a board would have said again
	sub.await(t, 1, "x end")
	sub.await(t, 1, "y about")
	for _, line := range []string{"round", "about"} {
		if n := sub.count(line); n != 1 {
			t.Errorf("%s: %d times", line, n)
		}
	}
}
