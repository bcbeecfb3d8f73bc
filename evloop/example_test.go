// SPDX-License-Identifier: Apache-2.0

package evloop_test

import (
	"bytes"
	"fmt"
	"log"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// An echo serves all its connections; it has nothing to remember.
type echo struct{ evloop.Base }

func (echo) Data(c *evloop.Conn, p []byte) int {
	c.WriteStatic(p) // sent when Data has returned, so p need not be copied
	return len(p)
}

func (echo) Closed(*evloop.Conn, error) {}

// A door lets everybody in.
type door struct{ h evloop.Handler }

func (d door) Accept(*evloop.Listener, int, netip.AddrPort) (evloop.Handler, any) { return d.h, nil }

func (d door) Failed(ln *evloop.Listener, err error) {
	log.Printf("accept: %v (for good: %t)", err, ln.Dead())
}

// An echo server on a socket that somebody else has opened.
func Example() {
	l, err := evloop.New(evloop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	fd := listen()
	if _, err := l.Listen(fd, door{echo{}}); err != nil {
		log.Fatal(err)
	}

	go func() { // a client
		defer l.Stop()
		fmt.Println(ask(fd, "hello"))
	}()

	if err := l.Run(); err != nil {
		log.Fatal(err)
	}
	l.Close()
	// Output: hello
}

// Lines are cut by the handler; what is left of one stays with the loop, which
// shows it again in front of what follows.
type lines struct{ echo }

func (lines) Data(c *evloop.Conn, p []byte) (consumed int) {
	for {
		i := bytes.IndexByte(p[consumed:], '\n')
		if i < 0 || c.Full() {
			return consumed
		}
		line := p[consumed : consumed+i]
		c.Write(fmt.Appendf(nil, "%d bytes\n", len(line)))
		consumed += i + 1
	}
}

func ExampleHandler_lines() {
	l, err := evloop.New(evloop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ours, theirs := pair()
	if _, err := l.Add(ours, lines{}, nil); err != nil {
		log.Fatal(err)
	}
	go func() {
		defer l.Stop()
		unix.Write(theirs, []byte("one\nthr"))
		fmt.Print(read(theirs))
		unix.Write(theirs, []byte("ee\n"))
		fmt.Print(read(theirs))
		unix.Close(theirs)
	}()
	if err := l.Run(); err != nil {
		log.Fatal(err)
	}
	l.Close()
	// Output:
	// 3 bytes
	// 5 bytes
}

// A meter is a serial line. What it says goes to everybody else on the loop.
type meter struct{ evloop.Base }

func (meter) Data(c *evloop.Conn, p []byte) int {
	said := evloop.NewMessage(bytes.Clone(p)) // once, for all
	for reader := range c.Loop().Conns() {
		if reader != c {
			reader.Send(said)
		}
	}
	return len(p)
}

// Closed is where a program would arm a timer to open the device again.
func (meter) Closed(*evloop.Conn, error) {}

// A serial line and its readers. A device is adopted like a socket; before that,
// its owner has set the speed and switched off what a terminal does to
// bytes. A reader that stands still loses the oldest lines and delays nobody.
func ExampleLoop_Add_serialLine() {
	l, err := evloop.New(evloop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	line, device := serialLine()
	if _, err := l.Add(line, meter{}, nil); err != nil {
		log.Fatal(err)
	}
	var readers []int
	for range 2 {
		ours, theirs := pair()
		c, err := l.Add(ours, echo{}, nil)
		if err != nil {
			log.Fatal(err)
		}
		c.SetOptions(&evloop.Options{Queue: 4 << 10, Overflow: evloop.DropOldest})
		readers = append(readers, theirs)
	}

	go func() {
		defer l.Stop()
		unix.Write(device, []byte("21.5 C\n"))
		for _, fd := range readers {
			fmt.Print(read(fd))
			unix.Close(fd)
		}
	}()

	if err := l.Run(); err != nil {
		log.Fatal(err)
	}
	l.Close()
	unix.Close(device)
	// Output:
	// 21.5 C
	// 21.5 C
}

// An alarm stops the loop.
type alarm struct{}

func (alarm) Expired(l *evloop.Loop, t evloop.Timer) {
	fmt.Println("timer", t.Kind, "is early:", l.Now() < t.Deadline)
	l.Stop()
}

// Timers are data: a moment, a kind, and whom to tell.
func ExampleLoop_Schedule() {
	l, err := evloop.New(evloop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	l.Schedule(evloop.Timer{Deadline: l.Now().Add(time.Millisecond), Kind: 7, Handler: alarm{}})
	cancelled := l.Schedule(evloop.Timer{Deadline: l.Now(), Kind: 8, Handler: alarm{}})
	l.Cancel(cancelled)
	if err := l.Run(); err != nil {
		log.Fatal(err)
	}
	// Output: timer 7 is early: false
}

// Another goroutine keeps the connection's ID, never the connection.
func ExampleLoop_Post() {
	l, err := evloop.New(evloop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ours, theirs := pair()
	c, err := l.Add(ours, echo{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	id := c.ID()

	go func() {
		answer := []byte("what took so long to work out")
		l.Post(func() {
			if c := l.Conn(id); c != nil { // it may be gone by now
				c.Write(answer)
			}
			l.Stop()
		})
	}()

	if err := l.Run(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(read(theirs))
	l.Close()
	unix.Close(theirs)
	// Output: what took so long to work out
}

// One line to everybody is stored once.
func ExampleConn_Send() {
	l, err := evloop.New(evloop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	var members []int
	for range 3 {
		ours, theirs := pair()
		c, err := l.Add(ours, echo{}, nil)
		if err != nil {
			log.Fatal(err)
		}
		c.SetOptions(&evloop.Options{Queue: 64 << 10, Overflow: evloop.DropOldest})
		members = append(members, theirs)
	}

	line := evloop.NewMessage([]byte("to all"))
	l.Post(func() {
		for c := range l.Conns() {
			c.Send(line)
		}
		l.Stop()
	})

	if err := l.Run(); err != nil {
		log.Fatal(err)
	}
	for _, fd := range members {
		fmt.Println(read(fd))
		unix.Close(fd)
	}
	l.Close()
	// Output:
	// to all
	// to all
	// to all
}

// listen stands for the service manager.
func listen() int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		log.Fatal(err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		log.Fatal(err)
	}
	return fd
}

// ask connects to what listens on fd, sends question and returns the answer.
func ask(fd int, question string) string {
	to, err := unix.Getsockname(fd)
	if err != nil {
		log.Fatal(err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	defer unix.Close(s)
	if err := unix.Connect(s, to); err != nil {
		log.Fatal(err)
	}
	unix.Write(s, []byte(question))
	return read(s)
}

// pair returns a connection: one end for the loop, one for its peer.
func pair() (ours, theirs int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		log.Fatal(err)
	}
	return fds[0], fds[1]
}

// serialLine returns a pseudo-terminal, which passes bytes on as they are, and
// its other end in the place of the device. Where there is none, such as in a
// sandbox, sockets do.
func serialLine() (line, device int) {
	device, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return pair()
	}
	n, err := unix.IoctlGetInt(device, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(device, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		line, err = unix.Open(fmt.Sprint("/dev/pts/", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		unix.Close(device)
		return pair()
	}
	t, err := unix.IoctlGetTermios(line, unix.TCGETS)
	if err != nil {
		log.Fatal(err)
	}
	t.Iflag &^= unix.ICRNL | unix.IXON // cfmakeraw(3), as far as it matters here
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(line, unix.TCSETS, t); err != nil {
		log.Fatal(err)
	}
	return line, device
}

func read(fd int) string {
	buf := make([]byte, 1024)
	n, err := unix.Read(fd, buf)
	if err != nil {
		log.Fatal(err)
	}
	return string(buf[:n])
}
