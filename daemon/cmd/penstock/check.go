// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"fmt"

	"penstock/daemon/internal/config"
)

const defaultConfig = "/etc/penstock/penstock.toml"

const aboutCheck = `usage: penstock check [-c FILE]

Reads FILE (default ` + defaultConfig + `) and conf.d/*.toml beside it
as run would, and prints every mistake as FILE:LINE: KEY: PROBLEM.
Nothing is opened or changed. Exit status 78 when there is a mistake.
`

func check(p process, args []string) int {
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	file := flags.String("c", defaultConfig, "")
	if status, ok := p.parse(flags, aboutCheck, args); !ok {
		return status
	}
	cfg, err := config.Load(*file)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return exitConfig
	}
	fmt.Fprintf(p.stdout, "%s: ok, %d services\n", *file, len(cfg.Services))
	return exitOK
}
