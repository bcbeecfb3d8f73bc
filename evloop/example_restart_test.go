// SPDX-License-Identifier: Apache-2.0

package evloop_test

import (
	"fmt"
	"log"
	"strconv"

	"golang.org/x/sys/unix"

	"penstock/evloop"
)

// A counter numbers what each client sends, and goes on counting after a
// restart.
type counter struct{ evloop.Base }

func (counter) Open(c *evloop.Conn) { c.State = 0 }

func (counter) Data(c *evloop.Conn, p []byte) int {
	n := c.State.(int) + 1
	c.State = n
	c.Write(fmt.Appendf(nil, "%d: %s", n, p))
	return len(p)
}

func (counter) Closed(*evloop.Conn, error) {}

func (counter) Saved(c *evloop.Conn) ([]byte, error) {
	return strconv.AppendInt(nil, int64(c.State.(int)), 10), nil
}

func (counter) Restored(c *evloop.Conn, state []byte) error {
	n, err := strconv.Atoi(string(state))
	c.State = n
	return err
}

// A client does not notice that another loop serves it. Between two processes
// the descriptors travel over a Unix socket or through the service manager.
func ExampleLoop_DetachAll() {
	first, err := evloop.New(evloop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ours, theirs := pair()
	c, err := first.Add(ours, counter{}, nil)
	if err != nil {
		log.Fatal(err)
	}
	say := func(l *evloop.Loop, text string) {
		unix.Write(theirs, []byte(text))
		go func() {
			defer l.Stop()
			fmt.Println(read(theirs))
		}()
		if err := l.Run(); err != nil {
			log.Fatal(err)
		}
	}
	say(first, "hello")

	carried, messages := first.DetachAll([]*evloop.Conn{c})
	first.Close()

	second, err := evloop.New(evloop.Config{})
	if err != nil {
		log.Fatal(err)
	}
	r, err := second.NewRestore(messages)
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range carried {
		if c.Err != nil {
			log.Fatal(c.Err)
		}
		if _, err := r.Conn(c.FD, counter{}, nil, nil, c.Record); err != nil {
			log.Fatal(err)
		}
	}
	r.Done()
	say(second, "hello again")
	second.Close()
	unix.Close(theirs)
	// Output:
	// 1: hello
	// 2: hello again
}
