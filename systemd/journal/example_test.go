// SPDX-License-Identifier: Apache-2.0

package journal_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"penstock/systemd/journal"
	"penstock/systemd/sdtest"
)

// What journalctl shows of a record, and what it can search for.
func ExampleNewHandler() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	played, err := sdtest.ListenJournal(filepath.Join(dir, "socket"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer played.Close()

	handler, sink := journal.NewHandler(journal.Options{Identifier: "penstock", SocketPath: played.Path})
	defer sink.Close(10 * time.Second)
	log := slog.New(handler)
	log.Warn("connection refused", "service", "lobby", "peer", "192.0.2.7:4000", "reason", "too many")

	e, err := played.Recv(10 * time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range e.Fields {
		fmt.Printf("%s=%s\n", f.Name, f.Value)
	}
	// Output:
	// PRIORITY=4
	// SYSLOG_IDENTIFIER=penstock
	// MESSAGE=connection refused service=lobby peer=192.0.2.7:4000 reason="too many"
	// SERVICE=lobby
	// PEER=192.0.2.7:4000
	// REASON=too many
}
