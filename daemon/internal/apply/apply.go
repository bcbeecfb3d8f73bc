// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

// An Applier does one apply. The fields are its surroundings.
type Applier struct {
	Root   string    // "/", but for tests
	Source string    // the main configuration file, which the generator reads too
	Out    io.Writer // what was done, a line each

	// Keep is set if no port that is served may be closed. Then Run opens only what
	// does not listen, and writes to Left, a line each, what a Run without Keep has
	// still to do.
	Keep bool
	Left io.Writer // also gets errors that close no port
}

// attempts is how often a restart is tried. The first may fail for two causes that pass.
// A process that the manager has forked for another unit holds the old socket for a
// moment (254 and later, PrivateTmp= of a unit that stops). Or a client starts the service
// between its stop and the sockets' start.
const attempts = 2

// Run puts cfg, which must be what the file at Source says, in force. When it
// returns an error, the lines written to Out before tell how far it got;
// sockets that did not change are open all the same.
func (a *Applier) Run(cfg *config.Config) error {
	before, err := a.applied()
	if err != nil {
		return err
	}
	if err := systemctl.Do("daemon-reload"); err != nil {
		return err
	}
	now, err := a.generated()
	if err != nil {
		return err
	}
	want, masked, err := a.want(cfg, now)
	if err != nil {
		return err
	}
	for _, name := range masked {
		a.say("%s: masked, left alone", name)
	}
	h, err := a.observe(want)
	if err != nil {
		return err
	}
	// The administrator has stopped the target, so nothing may listen, and apply opens
	// no port.
	if !h.serving() {
		a.say("%s is not active, its sockets stay closed; to open them: systemctl enable --now %s", unit.Target, unit.Target)
	}
	h.lost = a.lost(before, now, want, h)
	p := decide(before, now, want, h)
	if err := a.carryOut(p); err != nil {
		return err
	}
	a.sayLeft(p)
	unopened, err := a.settle(p.restart, want)
	a.sayAll(cfg.Around(a.Root))
	return errors.Join(err, a.clear(before, now), a.remember(before, now, slices.AppendSeq(unopened, maps.Keys(p.left))))
}

func (a *Applier) say(format string, args ...any) { fmt.Fprintf(a.Out, format+"\n", args...) }

// sayLeft writes what a Run without Keep has still to do.
func (a *Applier) sayLeft(p plan) {
	for _, name := range slices.Sorted(maps.Keys(p.left)) {
		if p.left[name] != added { // a new socket was most likely opened just now
			fmt.Fprintf(a.Left, "%s: %s, left open as it was\n", name, p.left[name])
		}
	}
}

func (a *Applier) generated() ([]unit.File, error) {
	return unit.Read(filepath.Join(a.Root, unit.GeneratorFolder))
}

// applied returns the units with which the sockets were opened. If they were not
// kept, it returns those that the manager has loaded.
func (a *Applier) applied() ([]unit.File, error) {
	folder := filepath.Join(a.Root, unit.AppliedFolder)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		return a.generated()
	}
	return unit.Read(folder)
}

// remember keeps the units for the next apply. For a socket that was not opened
// anew, because it has a fault or was left as it is, the old unit is kept.
func (a *Applier) remember(before, now []unit.File, unopened []string) error {
	stays := func(f unit.File) bool { return slices.Contains(unopened, f.Name) }
	files := slices.DeleteFunc(slices.Clone(now), stays)
	for _, f := range before {
		if stays(f) {
			files = append(files, f)
		}
	}
	if err := unit.Replace(filepath.Join(a.Root, unit.AppliedFolder), files); err != nil {
		return err
	}
	if err := unit.MakeLast(a.Root); err != nil { // such as a disk that is read-only
		fmt.Fprintf(a.Left, "not kept for a boot that finds mistakes: %v\n", err)
	}
	return nil
}

// want returns the sockets that should listen, and those that the
// administrator has masked. It also makes sure that the generator has done
// its work: it may be masked, or of another version than this command.
func (a *Applier) want(cfg *config.Config, now []unit.File) (want wanted, masked []string, err error) {
	files, err := a.generate(cfg)
	if err != nil {
		return nil, nil, err
	}
	written := texts(now)
	for _, f := range files {
		if written[f.Name] != f.Text {
			return nil, nil, fmt.Errorf("%s: not what this version of penstock makes of %s; is penstock-generator installed, and not masked?",
				filepath.Join(unit.GeneratorFolder, f.Name), a.Source)
		}
	}
	want, masked = a.wanted(cfg, written)
	return want, masked, nil
}

// generate returns what the generator makes of cfg.
func (a *Applier) generate(cfg *config.Config) ([]unit.File, error) {
	return unit.Generate(a.Source, cfg, nil, unit.Look(a.Root))
}

// wanted returns the sockets that should listen, with the texts of their units, and
// those that the administrator has masked.
func (a *Applier) wanted(cfg *config.Config, written map[string]string) (want wanted, masked []string) {
	overrides := unit.Overrides(a.Root)
	want = wanted{}
	for _, s := range cfg.Services {
		name := unit.SocketName(s.Name)
		switch overrides(name) {
		case unit.Masked:
			masked = append(masked, name)
		case unit.Own:
			want[name] = wish{} // the administrator's unit says where it listens
		default:
			want[name] = wish{written[name], s.Listen, false}
		}
	}
	if cfg.Web != nil && unit.HasWeb(a.Root) {
		switch overrides(unit.WebSocket) {
		case unit.Masked:
			masked = append(masked, unit.WebSocket)
		case unit.Own:
			want[unit.WebSocket] = wish{other: true}
		default:
			want[unit.WebSocket] = wish{written[unit.WebSocket], cfg.Web.Listen, true}
		}
	}
	return want, masked
}

// observe finds out the state of the machine. The pattern finds the sockets of
// services that were removed. The sockets that should listen are named, since a unit
// that the manager has not loaded yet matches no pattern.
func (a *Applier) observe(want wanted) (h host, err error) {
	names := append(slices.Sorted(maps.Keys(want)), unit.Service, unit.MQTTService, unit.Target, unit.ErrorReport, unit.SocketName("*"))
	units, err := systemctl.Show(names...)
	if err != nil {
		return h, err
	}
	h.keep, h.interfaces = a.Keep, a.interfaces()
	h.units = make(map[string]systemctl.Unit, len(units))
	for _, u := range units {
		h.units[u.ID] = u
	}
	if h.listeners, h.owned, err = readListeners(a.Root); err != nil {
		return h, err
	}
	if h.manager, err = a.holder(1); err != nil {
		return h, err
	}
	if h.running() {
		h.service, err = a.holder(h.units[unit.Service].MainPID)
	}
	return h, err
}

// interfaces returns the numbers of the network interfaces by name; nil: they could
// not be found out.
func (a *Applier) interfaces() map[string]string {
	entries, err := os.ReadDir(filepath.Join(a.Root, "sys/class/net"))
	if err != nil {
		return nil
	}
	numbers := make(map[string]string, len(entries))
	for _, e := range entries {
		// One that goes away meanwhile has no number, and need not have.
		n, _ := os.ReadFile(filepath.Join(a.Root, "sys/class/net", e.Name(), "ifindex"))
		numbers[e.Name()] = strings.TrimSpace(string(n))
	}
	return numbers
}

// holder is heldBy, and nil for a process that we may not look into or that
// has just ended.
func (a *Applier) holder(pid int) (map[uint64]bool, error) {
	held, err := heldBy(a.Root, pid)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return held, err
}

// carryOut does what was planned, except the restart. It stops removed sockets before
// it starts anything, because a new socket may need the port of a removed one.
func (a *Applier) carryOut(p plan) error {
	for _, name := range slices.Sorted(maps.Keys(p.reasons)) {
		a.say("%s: %s", name, p.reasons[name])
	}
	if len(p.forget) > 0 {
		if err := systemctl.Do("reset-failed", p.forget...); err != nil {
			return err
		}
	}
	if len(p.stop) > 0 {
		a.say("stop %s", strings.Join(p.stop, " "))
		if err := systemctl.Do("stop", p.stop...); err != nil {
			return err
		}
	}
	if p.reload {
		a.say("reload %s", unit.Service)
		if err := systemctl.Do("reload", unit.Service); err != nil {
			return a.refusal(err)
		}
	}
	return nil
}

// refusal adds what the service says about a reload that has failed.
func (a *Applier) refusal(err error) error {
	if u, showErr := systemctl.ShowOne(unit.Service); showErr == nil && u.Status != "" {
		return fmt.Errorf("%w\n%s: %s", err, unit.Service, u.Status)
	}
	return err
}

// settle restarts the units in one call and checks what listens. It restarts the
// units that fail the check once more, and returns those that were not opened.
func (a *Applier) settle(restart []string, want wanted) (unopened []string, err error) {
	began := time.Now()
	for attempt := 1; ; attempt++ {
		var restartErr error
		if len(restart) > 0 {
			a.say("restart %s", strings.Join(restart, " ")) // first: it may take the time of a drain
			restartErr = systemctl.Do("restart", restart...)
		}
		h, err := a.observe(want)
		if err != nil {
			return restart, errors.Join(restartErr, err)
		}
		faults, unopened, curable := h.faults(want, restart)
		if len(faults) == 0 {
			// A job may have failed; what counts is that everything listens now.
			a.report(h, want)
			return nil, nil
		}
		if len(curable) == 0 || attempt == attempts {
			for i, fault := range faults {
				name, _, _ := strings.Cut(fault, ":")
				if slices.Contains(curable, name) {
					faults[i] += because(h.units[name], began)
				}
			}
			return unopened, errors.Join(errors.New(strings.Join(faults, "\n")), restartErr)
		}
		ours := func(name string) bool { return !want[name].other }
		if restart = curable; slices.ContainsFunc(restart, ours) && !slices.Contains(restart, unit.Service) {
			restart = append(restart, unit.Service)
		}
	}
}

// because says why a socket has failed: its Result is no more than "exit-code"
// or "resources". The service has a status line for it.
func because(u systemctl.Unit, since time.Time) string {
	if u.Active != "failed" || u.ID == unit.Service {
		return ""
	}
	said := systemctl.Complaint(u.ID, since)
	if said == "" {
		return ""
	}
	return ": " + said
}

// report writes what listens now.
func (a *Applier) report(h host, want wanted) {
	switch {
	case !h.serving():
		return
	case len(want) == 0:
		a.say("no socket to listen on")
	case !h.running():
		a.say("%s, %s starts with the first client", count(len(want)), unit.Service)
	default:
		ours := 0
		for _, w := range want {
			if !w.other {
				ours++
			}
		}
		a.say("%s, passed to %s", count(ours), unit.Service)
		if status := h.units[unit.Service].Status; status != "" {
			a.say("%s: %s", unit.Service, status)
		}
	}
}

func count(n int) string {
	if n == 1 {
		return "1 socket listens"
	}
	return strconv.Itoa(n) + " sockets listen"
}
