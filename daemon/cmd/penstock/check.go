// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"penstock/daemon/internal/config"
)

const defaultConfig = "/etc/penstock/penstock.toml"

const aboutCheck = `Reads FILE (default ` + defaultConfig + `) and conf.d/*.toml beside it
as run would, and prints every mistake as FILE:LINE: KEY: PROBLEM.
Nothing is opened or changed. Exit status 78 when there is a mistake.
`

func check(p process, c command, args []string) int {
	flags := c.flags()
	file := flags.String(fileOption.letter, defaultConfig, "")
	if status, ok := p.parse(c, flags, args); !ok {
		return status
	}
	cfg, err := config.Loader{Pipe: true}.Load(*file)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return exitConfig
	}
	fmt.Fprintf(p.stdout, "%s: ok, %d services\n", *file, len(cfg.Services))
	return exitOK
}
