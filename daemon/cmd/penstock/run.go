// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"penstock/daemon"
	"penstock/daemon/internal/config"
	"penstock/systemd"
)

const aboutRun = `usage: penstock run [-c FILE]

Serves what FILE and conf.d/*.toml beside it say, in the foreground, until
SIGTERM. SIGHUP reads the files again, SIGUSR1 writes the state to the log.
Without -c it serves a built-in example of every kind on loopback and says how
to try each.

Started by systemd it uses the sockets it is given and opens none.
`

func run(p process, args []string) int {
	flags := flag.NewFlagSet("run", flag.ContinueOnError)
	file := flags.String("c", "", "")
	if status, ok := p.parse(flags, aboutRun, args); !ok {
		return status
	}
	limitProcs()

	level := new(slog.LevelVar)
	var running atomic.Pointer[daemon.Daemon]
	handler, sink := systemd.NewHandler(systemd.Options{Identifier: "penstock", Level: level, Waiting: func() {
		if d := running.Load(); d != nil {
			d.LogWaiting()
		}
	}})
	defer sink.Close(logPatience)
	log := slog.New(handler)
	if p.inheritErr != nil {
		daemon.LogStartFailed(log, p.inheritErr)
		return exitFailed
	}
	env, err := p.environment()
	if err != nil {
		daemon.LogStartFailed(log, err)
		return exitFailed
	}
	env.Log, env.Level, env.Flush = log, level, sink.Flush
	env.Builtin = *file == ""
	env.Load = func() (*config.Config, error) {
		if *file == "" {
			return config.Builtin(), nil
		}
		return config.Load(*file)
	}
	return p.serve(env, &running)
}

// logPatience is how long the end of the process waits for a busy journal.
const logPatience = time.Second

// serve runs the daemon and turns its errors into an exit status.
func (p process) serve(env daemon.Env, running *atomic.Pointer[daemon.Daemon]) int {
	cfg, err := env.Load()
	if err != nil {
		daemon.LogStartFailed(env.Log, err)
		return exitConfig
	}
	if !env.Managed {
		env.Ready = func() { welcome(p.stdout, cfg) }
	}
	d, err := daemon.New(cfg, env)
	if err == nil {
		running.Store(d)
		err = d.Run()
	}
	if err == nil {
		return exitOK
	}
	daemon.LogStartFailed(env.Log, err)
	if errors.Is(err, daemon.ErrNoSockets) {
		return exitConfig
	}
	return exitFailed
}

// environment is what the service manager has said, if one started us.
func (p process) environment() (env daemon.Env, err error) {
	env.Version, env.Inherited = version, p.inherited
	if env.Notifier, err = systemd.NewNotifier(); err != nil {
		return env, err
	}
	if env.Watchdog, err = systemd.WatchdogInterval(); err != nil {
		return env, err
	}
	env.Managed = p.inherited.Activated || env.Notifier != nil || startedByUnit()
	return env, nil
}

// startedByUnit tells a process that a unit's ExecStart= started from a shell
// in a terminal: both may have INVOCATION_ID, since desktop terminals run in
// units, but SYSTEMD_EXEC_PID is the process the unit itself started
// (systemd.exec(5), version 248).
func startedByUnit() bool {
	return os.Getenv("SYSTEMD_EXEC_PID") == strconv.Itoa(os.Getpid())
}

// limitProcs gives the one loop one thread to run Go code on; a second could
// only steal time from it. The environment's word comes first.
func limitProcs() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}
