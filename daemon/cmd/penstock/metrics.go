// SPDX-License-Identifier: Apache-2.0

package main

import "penstock/daemon/internal/control"

const aboutMetrics = `Prints what the running daemon counts, for Prometheus: as a file for the textfile
collector of node_exporter, for example. Exit status 1 if no daemon runs; it is not
started. Which daemon: see penstock status -h.
`

func metrics(p process, c command, args []string) int {
	a, status, ok := newAsk(p, c, args, nil)
	if !ok {
		return status
	}
	return a.answer(a.notRunning, func(client *control.Client) error {
		st, services, err := a.status(client)
		if err != nil {
			return err
		}
		return st.Snapshot(services).WriteMetrics(a.stdout)
	})
}
