// SPDX-License-Identifier: Apache-2.0

package systemd_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

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
		m, err := manager.Recv(time.Second)
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
