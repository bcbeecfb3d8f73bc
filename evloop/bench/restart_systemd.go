// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// The daemon as a service of systemd's manager: the user's own, which needs no
// privilege, or the system's. The units have what a restart needs and not the sandbox
// of packaging/units/penstock.service, most of which a user's manager may not set up.

// unitName is the name of the units, without their suffixes.
const unitName = "penstock-bench"

// A manager is a service manager that this process may use.
type manager struct {
	scope string // for systemctl
	units string // where units are put that nobody shall keep
}

// errNoManager says why penstock-systemd is left out.
var errNoManager = errors.New("no systemd manager runs for this user")

// managers returns those to be tried.
func managers() []manager {
	var list []manager
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		list = append(list, manager{"--user", filepath.Join(dir, "systemd", "user")})
	}
	if os.Geteuid() == 0 {
		list = append(list, manager{"--system", "/run/systemd/system"})
	}
	return list
}

func findManager() error {
	_, err := runningManager()
	return err
}

func runningManager() (manager, error) {
	for _, m := range managers() {
		if _, err := m.ctl(context.Background(), "show", "--property=Version"); err == nil {
			return m, nil
		}
	}
	return manager{}, errNoManager
}

// ctl runs systemctl and returns what it prints.
func (m manager) ctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "systemctl", append([]string{m.scope}, args...)...)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("systemctl %s: %w: %s", args[0], err, bytes.TrimSpace(msg.Bytes()))
	}
	return strings.TrimSpace(out.String()), nil
}

// A managed is a daemon that the manager restarts.
type managed struct{ manager }

func bySystemd(ctx context.Context, g Rig, p Peer, c Cell, address string) (restartable, error) {
	m, err := runningManager()
	if err != nil {
		return nil, err
	}
	s := managed{m}
	if err := s.install(g, p, c, address); err != nil {
		s.stop()
		return nil, err
	}
	for _, args := range [][]string{{"daemon-reload"}, {"start", unitName + ".socket"}, {"start", unitName + ".service"}} {
		if _, err := s.ctl(ctx, args...); err != nil {
			s.stop()
			return nil, err
		}
	}
	return s, nil
}

// install writes the units.
func (s managed) install(g Rig, p Peer, c Cell, address string) error {
	path, err := g.config(c, address)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.units, 0o755); err != nil {
		return fmt.Errorf("install units: %w", err)
	}
	service := fmt.Sprintf(`[Unit]
Description=penstock under test
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart="%s" run -c "%s"
NonBlocking=yes
Restart=on-failure
FileDescriptorStoreMax=4
RestartKillSignal=SIGINT
RestartForceExitStatus=75
SuccessExitStatus=75
LimitNOFILE=%d
StandardOutput=truncate:%s
StandardError=inherit
`, p.Command[0], path, 2*c.Conns+1024, filepath.Join(g.Dir, p.Name+".log"))
	if g.ServerCPU >= 0 {
		service += fmt.Sprintf("CPUAffinity=%d\n", g.ServerCPU)
	}
	socket := fmt.Sprintf("[Socket]\nListenStream=%s\nFileDescriptorName=bench\n", address)
	for suffix, text := range map[string]string{".service": service, ".socket": socket} {
		if err := os.WriteFile(s.file(suffix), []byte(text), 0o644); err != nil {
			return fmt.Errorf("install units: %w", err)
		}
	}
	return nil
}

func (s managed) file(suffix string) string { return filepath.Join(s.units, unitName+suffix) }

func (s managed) pids() (int, []int, error) {
	text, err := s.ctl(context.Background(), "show", "--property=MainPID", "--value", unitName+".service")
	if err != nil {
		return 0, nil, err
	}
	pid, err := strconv.Atoi(text)
	return pid, nil, err
}

func (s managed) restart(ctx context.Context) error {
	_, err := s.ctl(ctx, "restart", unitName+".service")
	return err
}

// stop leaves nothing behind, also of units that were not started. The load has ended,
// so there is nobody whom the daemon would let finish.
func (s managed) stop() {
	s.ctl(context.Background(), "stop", unitName+".socket", unitName+".service")         //nolint:errcheck // they may not have started
	s.ctl(context.Background(), "reset-failed", unitName+".socket", unitName+".service") //nolint:errcheck // they may not have failed
	for _, suffix := range []string{".service", ".socket"} {
		os.Remove(s.file(suffix))
	}
	s.ctl(context.Background(), "daemon-reload") //nolint:errcheck // the next one tells
}
