// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkDevices finds services that take the same device: each of them would get a part of
// what it says, or the second one would not get it at all. What a link names may change,
// so two names of one device are worth a warning only.
func (b *builder) checkDevices(all []described) {
	byName, byFile := map[string]string{}, map[string]string{}
	for _, d := range all {
		name, _ := d.Device()
		if name == "" {
			continue
		}
		if other, taken := byName[name]; taken {
			b.wrong(d.where("device"), fmt.Errorf("%q is taken by service.%s already", name, other))
			continue
		}
		byName[name] = d.Name
		file, err := filepath.EvalSymlinks(name)
		if err != nil {
			continue // it is not there
		}
		if other, taken := byFile[file]; taken {
			b.warn(d.where("device"), fmt.Errorf("%q leads to %s now, as the device of service.%s does; one of the two will not get it", name, file, other))
			continue
		}
		byFile[file] = d.Name
	}
}

// DevicesAway returns a line for each service whose device is not there, or cannot be one.
func (c *Config) DevicesAway() (lines []string) {
	for _, s := range c.Services {
		name, _ := s.Device()
		if name == "" {
			continue
		}
		say := func(text string) { lines = append(lines, fmt.Sprintf("service %s: %s %s", s.Name, name, text)) }
		info, err := os.Stat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			say("is not there yet; it is opened when it is")
		case err != nil:
			say("cannot be seen: " + err.Error())
		case info.Mode()&(fs.ModeCharDevice|fs.ModeNamedPipe) == 0:
			say("is no terminal line, FIFO or character device")
		}
	}
	return lines
}
