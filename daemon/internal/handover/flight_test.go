// SPDX-License-Identifier: Apache-2.0

package handover

import (
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A flight is what happens to a connection before, while and after only the queue holds
// it. Steps that are nil do nothing.
type flight struct {
	name      string
	tcp, unix bool
	before    func(t *testing.T, c *pair)
	during    func(t *testing.T, c *pair)
	after     func(t *testing.T, c *pair) // c.server is the adopted descriptor
	dropped   func(t *testing.T, c *pair) // instead of after: the queue was dropped
}

func send(s string) func(*testing.T, *pair) {
	return func(t *testing.T, c *pair) { write(t, c.client, s) }
}

func hangUp(t *testing.T, c *pair) { c.client = shut(c.client) }

// reset closes a TCP client with RST.
func reset(t *testing.T, c *pair) {
	must(unix.SetsockoptLinger(c.client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	hangUp(t, c)
}

func finish(_ *testing.T, c *pair) { must(unix.Shutdown(c.client, unix.SHUT_WR)) }

var flights = []flight{
	{
		name: "data before and during", tcp: true, unix: true, before: send("one"), during: send("two"),
		after: func(t *testing.T, c *pair) {
			if c.seqpacket() {
				wantBytes(t, c.server, "one")
				wantBytes(t, c.server, "two")
				return
			}
			wantBytes(t, c.server, "onetwo")
		},
	}, {
		name: "answers before and after", tcp: true, unix: true,
		before: func(t *testing.T, c *pair) { write(t, c.server, "old") },
		after: func(t *testing.T, c *pair) {
			wantBytes(t, c.client, "old")
			write(t, c.server, "new")
			wantBytes(t, c.client, "new")
		},
	}, {
		name: "half-close", tcp: true, unix: true, before: send("x"), during: finish,
		after: func(t *testing.T, c *pair) {
			wantBytes(t, c.server, "x")
			wantEnd(t, c.server, io.EOF)
			write(t, c.server, "answer")
			wantBytes(t, c.client, "answer")
		},
	}, {
		name: "close", tcp: true, unix: true, before: send("x"), during: hangUp,
		after: func(t *testing.T, c *pair) {
			wantBytes(t, c.server, "x")
			wantEnd(t, c.server, io.EOF)
		},
	}, {
		name: "reset", tcp: true, during: reset,
		after: func(t *testing.T, c *pair) { wantEnd(t, c.server, unix.ECONNRESET) },
	}, {
		name: "reset behind data", tcp: true, before: send("x"), during: reset,
		after: func(t *testing.T, c *pair) {
			await(t, c.server, unix.POLLHUP)
			wantBytes(t, c.server, "x")
			wantEnd(t, c.server, unix.ECONNRESET)
		},
	}, {
		name: "close with unread input", unix: true,
		before: func(t *testing.T, c *pair) { write(t, c.server, "unread") }, during: hangUp,
		after: func(t *testing.T, c *pair) { wantEnd(t, c.server, unix.ECONNRESET) },
	}, {
		name: "more than the kernel takes", tcp: true,
		during: func(t *testing.T, c *pair) { c.sent = flood(t, c.client) },
		after: func(t *testing.T, c *pair) {
			if got, err := read(t, c.server, c.sent); err != nil || strings.Trim(got, "x") != "" {
				t.Errorf("%d of %d bytes came: %v", len(got), c.sent, err)
			}
			wantNothing(t, c.server)
		},
	}, {
		name: "output that nobody reads", tcp: true,
		before: func(t *testing.T, c *pair) { c.sent = flood(t, c.server) },
		after: func(t *testing.T, c *pair) {
			if got, err := read(t, c.client, c.sent); err != nil || strings.Trim(got, "x") != "" {
				t.Errorf("%d of %d bytes came: %v", len(got), c.sent, err)
			}
		},
	}, {
		name: "edges after data", tcp: true, before: send("x"), after: wantEdges(unix.EPOLLIN | unix.EPOLLOUT),
	}, {
		name: "edges after FIN", tcp: true, during: finish, after: wantEdges(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP),
	}, {
		name: "edges after RST", tcp: true, during: reset,
		after: wantEdges(unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLERR | unix.EPOLLHUP),
	}, {
		name: "options", tcp: true,
		before: func(_ *testing.T, c *pair) { eachOption(c.server, unix.SetsockoptInt) },
		after: func(t *testing.T, c *pair) {
			eachOption(c.server, func(fd, level, name, want int) error {
				if got := get(unix.GetsockoptInt(fd, level, name)); got != want {
					t.Errorf("option %d of level %d is %d, want %d", name, level, got, want)
				}
				return nil
			})
			if flags := get(unix.FcntlInt(uintptr(c.server), unix.F_GETFL, 0)); flags&unix.O_NONBLOCK == 0 {
				t.Errorf("flags %#x: O_NONBLOCK is lost", flags)
			}
		},
	}, {
		name: "credentials", unix: true,
		after: func(t *testing.T, c *pair) {
			want := unix.Ucred{Pid: int32(unix.Getpid()), Uid: uint32(unix.Getuid()), Gid: uint32(unix.Getgid())}
			if got := get(unix.GetsockoptUcred(c.server, unix.SOL_SOCKET, unix.SO_PEERCRED)); *got != want {
				t.Errorf("SO_PEERCRED %+v, want %+v", *got, want)
			}
		},
	}, {
		name: "unread descriptors of the client", unix: true,
		before: func(t *testing.T, c *pair) {
			var pipe [2]int
			must(unix.Pipe2(pipe[:], unix.O_CLOEXEC))
			must(unix.Sendmsg(c.client, []byte("x"), unix.UnixRights(pipe[0]), nil, 0))
			write(t, pipe[1], "through the pipe")
			closeAll(pipe[:])
		},
		after: func(t *testing.T, c *pair) {
			control := make([]byte, controlSize)
			_, n, _, _, err := unix.Recvmsg(c.server, make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
			fds := rights(control[:n])
			defer closeAll(fds)
			if err != nil || len(fds) != 1 {
				t.Fatalf("%d descriptors, %v", len(fds), err)
			}
			wantBytes(t, fds[0], "through the pipe")
		},
	}, {
		name: "the client's own end sent and closed", unix: true,
		before: func(t *testing.T, c *pair) {
			must(unix.Sendmsg(c.client, []byte("x"), unix.UnixRights(c.client), nil, 0))
			hangUp(t, c)
		},
		after: func(t *testing.T, c *pair) { wantBytes(t, c.server, "x") },
	}, {
		name: "dropped", tcp: true, unix: true,
		dropped: func(t *testing.T, c *pair) { wantEnd(t, c.client, io.EOF) },
	}, {
		name: "dropped with unread input", tcp: true, unix: true, during: send("unread"),
		dropped: func(t *testing.T, c *pair) { wantEnd(t, c.client, unix.ECONNRESET) },
	},
}

// TestFlights: each connection is adopted as it would be if nothing had happened, or as
// its client has left it.
func TestFlights(t *testing.T) {
	eachForm(t, func(t *testing.T, f form) {
		for _, fl := range flights {
			if f.tcp && fl.tcp || !f.tcp && fl.unix {
				t.Run(fl.name, func(t *testing.T) { fl.run(t, f) })
			}
		}
	})
}

func (fl flight) run(t *testing.T, f form) {
	q, c := newQueue(t), f.pairs(t, 1)[0]
	cookie := cookies(t, []int{c.server})[0]
	if fl.before != nil {
		fl.before(t, c)
	}
	fill(t, q, "", []*pair{c})
	if fl.during != nil {
		fl.during(t, c)
	}
	if fl.dropped != nil {
		q.Close()
		fl.dropped(t, c)
		return
	}
	p := adopt(t, q)
	c.server, p.FDs = p.FDs[0], nil
	if got := cookies(t, []int{c.server})[0]; got != cookie {
		t.Errorf("cookie %d, want %d", got, cookie)
	}
	fl.after(t, c)
}

func (p *pair) seqpacket() bool {
	return get(unix.GetsockoptInt(p.server, unix.SOL_SOCKET, unix.SO_TYPE)) == unix.SOCK_SEQPACKET
}

// flood writes until the kernel takes no more, at most 16 MiB, and returns how much it
// took.
func flood(t *testing.T, fd int) (n int) {
	t.Helper()
	must(unix.SetNonblock(fd, true))
	chunk := []byte(strings.Repeat("x", 64<<10))
	for n < 16<<20 {
		more, err := unix.Write(fd, chunk)
		if err == unix.EAGAIN {
			break
		}
		must(err)
		n += more
	}
	return n
}

func eachOption(fd int, do func(fd, level, name, value int) error) {
	must(do(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	must(do(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 12_345))
	must(do(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 77))
	must(do(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 4321))
	must(do(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1))
	must(do(fd, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 3))
}

// wantEdges: the first edge-triggered registration reports what has come meanwhile.
func wantEdges(want uint32) func(*testing.T, *pair) {
	return func(t *testing.T, c *pair) {
		if want&unix.EPOLLRDHUP != 0 {
			await(t, c.server, unix.POLLRDHUP) // it has come, but it may have come late
		}
		set := get(unix.EpollCreate1(unix.EPOLL_CLOEXEC))
		defer unix.Close(set)
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET}
		must(unix.EpollCtl(set, unix.EPOLL_CTL_ADD, c.server, &ev))
		got := make([]unix.EpollEvent, 1)
		if n, err := unix.EpollWait(set, got, 0); n != 1 || got[0].Events != want {
			t.Errorf("%d events %#x, %v; want %#x", n, got[0].Events, err, want)
		}
	}
}

// TestCloseInFlight: while the queue holds a connection, close does not end it and End
// does.
func TestCloseInFlight(t *testing.T) {
	eachForm(t, func(t *testing.T, f form) {
		q, list := newQueue(t), f.pairs(t, 2)
		fill(t, q, "", list)
		p := mustPeek(t, q.reader)
		unix.Close(p.FDs[0])
		End(p.FDs[1])
		p.FDs = nil
		wantNothing(t, list[0].client)
		wantEnd(t, list[1].client, io.EOF)
		p = adopt(t, q)
		wantAlive(t, list[0].client, p.FDs[0])
	})
}
