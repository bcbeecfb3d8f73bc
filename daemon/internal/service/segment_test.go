// SPDX-License-Identifier: Apache-2.0

package service

import (
	"testing"
)

// talk sends in, cut at at, shuts its side, returns all that comes back and
// waits for the end. A seqpacket socket keeps the two parts apart, where a
// stream would let the kernel join them.
func talk(r *rig, in string, at int) string {
	r.lastID = 0 // the same address each time
	c := r.dialBy("unixpacket")
	defer func() {
		c.conn.Close()
		<-r.ended
	}()
	for _, part := range []string{in[:at], in[at:]} {
		if part != "" { // an empty packet would be the end
			c.send(part)
		}
	}
	c.shut()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.conn.Read(buf)
		if n == 0 || err != nil {
			return string(all)
		}
		all = append(all, buf[:n]...)
	}
}

// FuzzSegmentation checks, through the loop and a socket, that what a service
// says does not depend on how TCP cuts what it is told.
func FuzzSegmentation(f *testing.F) {
	kinds := []*rig{
		serve(f, lancelot),
		serve(f, "kind=\"ticker\"\ninterval=\"1h\""),
		serve(f, "kind=\"room\"\nwelcome=\"\"\nmessage=\"{line}\"\nmax_line=100"),
		serve(f, "kind=\"room\"\npreset=\"twisted\"\nwelcome=\"\"\nmessage=\"{line}\"\nmax_line=100"),
		serve(f, "kind=\"room\"\npreset=\"select-chat\"\necho_to_sender=true"),
		serve(f, "kind=\"echo\""),
	}
	f.Add(uint8(0), "What is your name?What is your quest?\r\nWhat", 20)
	f.Add(uint8(1), "PING\r\nCONFIG GET save\r\nPING x\r\n", 3)
	f.Add(uint8(2), "/nick bob\r\nhi\n/who\n/quit\nx\n", 10)
	f.Add(uint8(3), "lf only\ncrlf\r\n", 13)
	f.Add(uint8(4), "NAME: bob\r\nhi\r\n", 5)
	f.Add(uint8(5), "abc", 1)
	f.Fuzz(func(t *testing.T, kind uint8, in string, at int) {
		if at < 0 || at > len(in) || len(in) > 1000 {
			return
		}
		r := kinds[int(kind)%len(kinds)]
		r.t = t
		want, got := talk(r, in, 0), talk(r, in, at)
		if got != want {
			t.Errorf("%s, cut at %d: %q\nwhole: %q", r.conf.Kind, at, got, want)
		}
	})
}
