// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon"
	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/report"
	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
	"penstock/daemon/internal/view"
)

// What the commands have in common that ask a running daemon, by its control socket.

var (
	socketOption = option{"-socket", "PATH"}
	jsonOption   = option{"-json", ""}
)

// askPatience is how long a command waits for a reply.
const askPatience = 10 * time.Second

// controlVariable says which daemon to ask, and where one that was started by hand makes
// its socket; set and empty: it makes none. It is the path of a file, also if it begins
// with "@": an abstract socket has no mode, so every user could ask.
const controlVariable = "PENSTOCK_CONTROL"

// An ask is one command that asks a daemon.
type ask struct {
	process
	command
	socket string
	json   bool
	of     string // the operand; "": there is none
	second string // a second one
}

// newAsk reads the command line. more adds the command's own flags; it may be nil.
func newAsk(p process, c command, args []string, more func(*flag.FlagSet)) (a ask, status int, ok bool) {
	a = ask{process: p, command: c}
	flags := c.flags()
	flags.StringVar(&a.socket, socketOption.name(), "", "")
	if slices.Contains(c.options, jsonOption) {
		flags.BoolVar(&a.json, jsonOption.name(), false, "")
	}
	if more != nil {
		more(flags)
	}
	operands, status, ok := p.parseOperands(c, flags, args)
	if len(operands) > 0 {
		a.of = operands[0]
	}
	if len(operands) > 1 {
		a.second = operands[1]
	}
	return a, status, ok
}

// answer connects and has say print what the daemon tells, or has idle print what there
// is to say if none runs. It returns the exit status.
func (a ask) answer(idle func() error, say func(*control.Client) error) int {
	client, err := a.dial()
	switch {
	case err == nil && client == nil:
		err = idle()
	case err == nil:
		defer client.Close()
		err = say(client)
	}
	if err != nil {
		fmt.Fprintf(a.stderr, "penstock %s: %s\n", a.name, explain(err))
		return exitFailed
	}
	return exitOK
}

// explain begins with the name of an error of the daemon, or says who may ask.
func explain(err error) string {
	if e, ok := errors.AsType[*control.Error](err); ok {
		short := *e
		short.Name = control.ShortName(e.Name)
		if errors.Is(err, control.ErrPermission) {
			return short.Name + "\nroot may do that, and control.admins of the configuration"
		}
		return short.Error()
	}
	// A file that the command itself writes has the same errors, and is not the daemon.
	path, ok := errors.AsType[*fs.PathError](err)
	switch {
	case !ok || path.Op != "connect":
	case errors.Is(err, fs.ErrPermission):
		return err.Error() + "\nroot may ask, and members of the group penstock-view"
	case nobodyThere(err):
		return err.Error() + "\nno daemon runs, or it has no control socket; --socket PATH names another one"
	}
	return err.Error()
}

// nobodyThere reports whether err of a connect means that nobody listens, or that the file
// was left by a process that was killed.
func nobodyThere(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
}

// dial connects to the daemon that the command line names, or the environment, or else to
// that of this user, or else to that of the machine. It returns nil and no error if that
// of the machine does not run and the service manager would start it: a question is no
// reason for that.
func (a ask) dial() (*control.Client, error) {
	if client, found, err := a.dialOwn(askPatience); found {
		return client, err
	}
	if u, err := systemctl.ShowOne(unit.Service); err == nil && u.Load == "loaded" && u.MainPID == 0 {
		return nil, nil
	}
	return control.Dial(a.path(config.ControlPath), askPatience)
}

// dialOwn connects to the daemon that the command line names, or the environment, or else
// to that of this user. found is false if neither names one and the user has none.
func (a ask) dialOwn(patience time.Duration) (client *control.Client, found bool, err error) {
	if path := cmp.Or(a.socket, os.Getenv(controlVariable)); path != "" {
		if path, err = filepath.Abs(path); err == nil {
			client, err = control.Dial(path, patience)
		}
		return client, true, err
	}
	folder, private := a.ownFolder()
	if !private {
		return nil, false, nil
	}
	client, err = control.Dial(filepath.Join(folder, "control"), patience)
	if nobodyThere(err) {
		return nil, false, nil
	}
	return client, true, err
}

// ownFolder returns the folder of the control socket of a daemon that this user has
// started by hand, and whether it is this user's alone.
func (p process) ownFolder() (path string, private bool) {
	path = filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "penstock")
	if !filepath.IsAbs(path) {
		path = p.path("/tmp/penstock-" + strconv.Itoa(os.Geteuid()))
	}
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	return path, err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&0o022 == 0 && int(st.Uid) == os.Geteuid()
}

// makeControl returns where a process that was started by hand makes its control socket,
// or "" for nowhere.
func (p process) makeControl(env daemon.Env) string {
	path, set := os.LookupEnv(controlVariable)
	var err error
	switch {
	case env.Managed, set && path == "":
		return ""
	case set:
		path, err = filepath.Abs(path)
	default:
		var private bool
		if path, private = p.ownFolder(); !private {
			err = os.Mkdir(path, 0o700)
		}
		path = filepath.Join(path, "control")
	}
	if err != nil {
		report.NoControl(env.Log, err)
		return ""
	}
	return path
}

// An idleSocket is a socket on which the service manager waits for a first client.
type idleSocket struct {
	Service string   `json:"service"`
	Listen  []string `json:"listen"`
}

// sayIdle says what the service manager listens on while no daemon runs.
func (a ask) sayIdle() error {
	units, err := systemctl.Show(unit.SocketName("*"))
	if err != nil {
		return err
	}
	sockets := []idleSocket{}
	for _, u := range units {
		if u.Active == "active" && u.ID != unit.ControlSocket {
			name := strings.TrimSuffix(strings.TrimPrefix(u.ID, "penstock-"), ".socket")
			sockets = append(sockets, idleSocket{name, u.Listen})
		}
	}
	if a.json {
		return a.printJSON(map[string]any{"phase": "inactive", "sockets": sockets})
	}
	fmt.Fprintf(a.stdout, "%s does not run; the first client starts it.\n", unit.Service)
	if len(sockets) == 0 {
		fmt.Fprintf(a.stdout, "systemd listens on nothing for it: see systemctl status %s\n", unit.Target)
		return nil
	}
	fmt.Fprint(a.stdout, "systemd listens on\n")
	t := table{columns: []column{{}, {}}}
	for _, s := range sockets {
		t.add("  "+s.Service, strings.Join(s.Listen, " "))
	}
	t.write(a.stdout)
	return nil
}

// status asks for the state of the process and its services, or the one of a name.
func (a ask) status(client *control.Client) (st control.Status, services []view.Service, err error) {
	if err = client.Call(control.Interface+".Status", nil, &st); err == nil {
		services, err = gather(client, "Services", a.of, func(r control.Services) []view.Service { return r.Services })
	}
	return st, services, err
}

// gather returns what the replies to a call hold together; part returns what one of them
// holds. The call is about one service, or all of them if it is "".
func gather[R, T any](client *control.Client, method, service string, part func(R) []T) (all []T, err error) {
	err = client.Stream(control.Interface+"."+method, control.ServiceFilter{Service: service}, askPatience, func(p json.RawMessage) error {
		var got R
		err := json.Unmarshal(p, &got)
		all = append(all, part(got)...)
		return err
	})
	return all, err
}
