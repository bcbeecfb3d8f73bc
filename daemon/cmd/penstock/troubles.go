// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/listen"
	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
	"penstock/daemon/internal/view"
)

// What a file cannot tell shows when its services run: whether a driver takes the settings
// of a line, and whether somebody answers at a target. The process knows the former soon
// after it has begun, the latter only when a client has come. So targets are tried here.

const (
	targetPatience = time.Second
	devicePatience = 3 * time.Second
	devicePause    = 100 * time.Millisecond
)

// sayTroubles says what keeps services of cfg, which is in force, from their work.
func (p process) sayTroubles(cfg *config.Config) {
	for _, line := range slices.Concat(p.refusedSettings(cfg), refusedTargets(cfg)) {
		fmt.Fprintln(p.stdout, line)
	}
}

// refusedTargets returns a line for each service of which no target answers. All are tried
// at once. A name is not: to look it up takes a resolver, and the time that it takes.
func refusedTargets(cfg *config.Config) []string {
	lines := make([]string, len(cfg.Services))
	var all sync.WaitGroup
	for i, s := range cfg.Services {
		all.Go(func() { lines[i] = refusedTarget(s) })
	}
	all.Wait()
	return slices.DeleteFunc(lines, func(line string) bool { return line == "" })
}

func refusedTarget(s *config.Service) (line string) {
	for _, to := range s.Targets() {
		if to.Network == config.Name {
			return ""
		}
		err := listen.Refusal(to, targetPatience)
		if err == nil {
			return ""
		}
		line = fmt.Sprintf("service %s: no answer from %s: %v", s.Name, to, err)
	}
	return line
}

// refusedSettings asks the process, which may have begun only now, for what drivers have
// refused.
func (p process) refusedSettings(cfg *config.Config) []string {
	if !slices.ContainsFunc(cfg.Services, hasDevice) {
		return nil
	}
	if u, err := systemctl.ShowOne(unit.Service); err != nil || u.MainPID == 0 {
		return nil // its socket would start it
	}
	client, err := control.Dial(p.path(config.ControlPath), askPatience)
	if err != nil {
		return nil
	}
	defer client.Close()
	for end := time.Now().Add(devicePatience); ; time.Sleep(devicePause) {
		_, services, err := ask{process: p}.status(client)
		lines, opening := settingsRefused(services)
		if err != nil || !opening || time.Now().After(end) {
			return lines
		}
	}
}

func hasDevice(s *config.Service) bool {
	name, _ := s.Device()
	return name != ""
}

// settingsRefused returns a line for each device that has other settings, and whether one
// is yet to be opened.
func settingsRefused(services []view.Service) (lines []string, opening bool) {
	for _, s := range services {
		switch {
		case s.Source == nil || s.Leaving:
		case s.Source.State == "opening":
			opening = true
		case s.Source.Refused != "":
			lines = append(lines, fmt.Sprintf("service %s: the driver of %s has refused settings, and has: %s", s.Name, s.Source.Name, s.Source.Refused))
		}
	}
	return lines, opening
}
