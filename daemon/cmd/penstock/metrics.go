// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"penstock/daemon/internal/control"
)

const aboutMetrics = `Prints what the running daemon counts, for Prometheus: as a file for the textfile
collector of node_exporter, for example. Exit status 1 if no daemon runs; it is not
started. Which daemon: see penstock status -h.
`

func metrics(p process, c command, args []string) int {
	a, status, ok := newAsk(p, c, args, nil)
	if !ok {
		return status
	}
	client, err := a.dial()
	switch {
	case err != nil:
		return a.fail(err)
	case client == nil:
		fmt.Fprintln(a.stderr, "penstock metrics: penstock.service does not run")
		return exitFailed
	}
	defer client.Close()
	var st control.Status
	if err := client.Call(control.Interface+".Status", nil, &st); err != nil {
		return a.fail(err)
	}
	services, err := servicesOf(client, "")
	if err == nil {
		err = st.Snapshot(services).WriteMetrics(a.stdout)
	}
	if err != nil {
		return a.fail(err)
	}
	return exitOK
}
