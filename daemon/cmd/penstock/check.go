// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/unit"
)

const defaultConfig = "/etc/penstock/penstock.toml"

const aboutCheck = `Reads FILE (default ` + defaultConfig + `) and conf.d/*.toml beside it
as run would, and prints every mistake as FILE:LINE: KEY: PROBLEM, and what has
another effect than it says as FILE:LINE: KEY: warning: EFFECT. It names devices,
programs and users that are not there, what else may take a device or a path, and a
page or a broker without its program.
Nothing is opened or changed. Exit status 78 when there is a mistake, 0 with warnings alone.

With -s, which needs root and systemd, they are read once more with the user
and in the sandbox of penstock.service, from which files may be hidden.
`

func check(p process, c command, args []string) int {
	flags := c.flags()
	file := flags.String(fileOption.letter, defaultConfig, "")
	asService := flags.Bool(sandboxOption.letter, false, "")
	if status, ok := p.parse(c, flags, args); !ok {
		return status
	}
	if *asService && os.Geteuid() != 0 {
		fmt.Fprintln(p.stderr, "penstock check: -s needs root")
		return exitFailed
	}
	// At the path of the service's own file a pipe is a mistake: nothing writes
	// to it, and penstock-config-error.service would wait for ever.
	cfg, err := config.Loader{Pipe: *file != defaultConfig}.Load(*file)
	p.printWarnings(cfg)
	if err == nil && *asService {
		err = p.checkAsService(*file, checked(*file, cfg))
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return exitConfig
	}
	for _, line := range cfg.Around(p.root) {
		fmt.Fprintln(p.stderr, line)
	}
	if cfg.Web != nil && !unit.HasWeb(p.root) {
		fmt.Fprintln(p.stderr, "web: warning: there is no page, since the package penstock-web is not installed")
	}
	if cfg.MQTT != nil && !unit.HasMQTT(p.root) {
		fmt.Fprintln(p.stderr, "mqtt: warning: nothing reaches the broker, since the package penstock-mqtt is not installed")
	}
	fmt.Fprint(p.stdout, checked(*file, cfg))
	return exitOK
}

// printWarnings writes the warnings of a file to standard error. cfg is nil if the
// file could not be read.
func (p process) printWarnings(cfg *config.Config) {
	if cfg != nil {
		fmt.Fprint(p.stderr, cfg.Warnings)
	}
}

// checked is what check prints when there is no mistake.
func checked(file string, cfg *config.Config) string {
	return fmt.Sprintf("%s: ok, %s\n", file, plural(len(cfg.Services), "service"))
}
