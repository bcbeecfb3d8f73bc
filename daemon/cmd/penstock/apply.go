// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"penstock/daemon/internal/apply"
	"penstock/daemon/internal/config"
	"penstock/daemon/internal/kept"
)

const aboutApply = `Puts ` + defaultConfig + ` and conf.d/*.toml beside it in force on
a machine where systemd holds the sockets: checks the files, runs daemon-reload,
restarts the sockets that have changed together with the service, stops those
that were removed, and looks whether every port listens. Ports that did not
change stay open. Exit status 78, and nothing is touched, when there is a
mistake; 1 when something does not listen in the end.

With -k no port that is served is closed, not even for a moment: only what
listens nowhere is opened, and what is left to do is written to standard error.

With -n it says what it would do, and whose clients would be disconnected, and
does nothing.
`

func applyFile(p process, c command, args []string) int {
	flags := c.flags()
	keep := flags.Bool(keepOption.letter, false, "")
	preview := flags.Bool(previewOption.letter, false, "")
	if status, ok := p.parse(c, flags, args); !ok {
		return status
	}
	source := p.path(defaultConfig)
	release, err := apply.Lock(p.root, p.stdout)
	if err != nil {
		fmt.Fprintln(p.stderr, "penstock apply:", err)
		return exitFailed
	}
	defer release()
	cfg, err := config.Load(source)
	p.printWarnings(cfg)
	if err == nil {
		err = p.checkAsService(source, checked(source, cfg))
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return exitConfig
	}
	a := apply.Applier{Root: p.root, Source: source, Out: p.stdout, Keep: *keep, Left: p.stderr}
	if *preview {
		err = a.Preview(cfg, inForce(p.path(keptFile)))
	} else if err = a.Run(cfg); err == nil {
		p.sayTroubles(cfg)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, "penstock apply:", err)
		return exitFailed
	}
	return exitOK
}

// keptFile is where the service of the package keeps what is in force.
const keptFile = "/var/lib/penstock/" + lastFile

// inForce returns the configuration that the service has kept, or nil.
func inForce(path string) *config.Config {
	files, _, err := kept.Read(path, lastLimit+lastOverhead)
	if err != nil {
		return nil
	}
	cfg, err := config.Loader{}.Restore(files)
	if err != nil {
		return nil
	}
	return cfg
}
