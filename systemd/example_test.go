// SPDX-License-Identifier: Apache-2.0

package systemd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"penstock/systemd"
	"penstock/systemd/sdtest"
)

// A daemon takes over what systemd passed before anything else.
func ExampleInherit() {
	inherited, err := systemd.Inherit()
	if err != nil {
		fmt.Println(err) // for another process, or names that do not fit
		return
	}
	if !inherited.Activated {
		fmt.Println("not activated: open the sockets yourself")
	}
	for _, s := range inherited.Sockets {
		fmt.Println("serve", s.Name, "at", s.Addr)
	}
	for _, r := range inherited.Rejected {
		fmt.Println("closed", r.Name, "-", r.Reason)
	}
	// Output: not activated: open the sockets yourself
}

// The life of a service as its manager sees it. Without NOTIFY_SOCKET the same
// calls do nothing.
func ExampleNotifier() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	manager, err := sdtest.ListenNotify(filepath.Join(dir, "notify"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer manager.Close()
	os.Setenv("NOTIFY_SOCKET", manager.Path)

	n, err := systemd.NewNotifier()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer n.Close()
	n.Ready("2 services")
	n.Status("2 services, 3 connections")
	n.Stopping("")

	for range 3 {
		m, err := manager.Recv(10 * time.Second)
		fmt.Printf("%q %v\n", m.Text, err)
	}
	// Output:
	// "READY=1\nSTATUS=2 services" <nil>
	// "STATUS=2 services, 3 connections" <nil>
	// "STOPPING=1" <nil>
}

// Ping the watchdog from where a hang would matter.
func ExampleWatchdogInterval() {
	os.Setenv("WATCHDOG_USEC", "30000000") // WatchdogSec=30s
	every, err := systemd.WatchdogInterval()
	fmt.Println(every, err)
	// Output: 10s <nil>
}

// What has to outlive a restart goes to the service manager before the process ends.
func ExampleNotifier_Store() {
	n, err := systemd.NewNotifier()
	if err != nil {
		fmt.Println(err)
		return
	}
	queue, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = n.Store("example.queue", queue[0])
	if err == nil {
		err = n.Barrier(time.Second)
	}
	// The service manager never says that it has refused. If it has, nobody holds
	// this end any more, and the other one hangs up.
	unix.Close(queue[0])
	end := []unix.PollFd{{Fd: int32(queue[1])}}
	if _, perr := unix.Poll(end, 0); perr == nil && err == nil && end[0].Revents == 0 {
		fmt.Println("kept for the next process")
	} else {
		fmt.Println("not kept:", err)
	}
	// Output: not kept: systemd: store "example.queue": no service manager: unsupported operation
}
