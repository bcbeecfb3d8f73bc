// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/listen"
)

// TestSocketFileGoesFirst: as long as the file is there, somebody listens. One
// that nobody serves would be taken for a left-over, and what another process
// puts in its place would be removed.
func TestSocketFileGoesFirst(t *testing.T) {
	const times = 300
	path := filepath.Join(t.TempDir(), "s")
	conf := &config.Service{Name: "a", Backlog: 4096, SocketMode: 0o666}
	refused := 0
	for range times {
		s, err := listen.Open(conf, mustAddress(t, path))
		if err != nil {
			t.Fatal(err)
		}
		connected, end := make(chan bool), make(chan error)
		go func() { end <- connectUntilError(path, connected) }()
		<-connected
		(&listener{Socket: s}).close()
		switch err := <-end; {
		case errors.Is(err, unix.ECONNREFUSED):
			refused++
		case !errors.Is(err, unix.ENOENT):
			t.Fatal(err)
		}
	}
	if refused > times/30 { // some were between the file and the socket when both went
		t.Errorf("%d of %d clients found a file that nobody serves", refused, times)
	}
}

// connectUntilError connects again and again, tells of the first time, and returns
// why it could not any more.
func connectUntilError(path string, connected chan<- bool) error {
	for n := 0; ; n++ {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return err
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		_ = unix.Close(fd)
		if n == 0 {
			close(connected)
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) { // of a backlog that is full
			return err
		}
	}
}
