// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon"
	"penstock/daemon/internal/config"
	"penstock/daemon/internal/report"
	"penstock/systemd"
	"penstock/systemd/journal"
)

const aboutRun = `Serves what FILE and conf.d/*.toml beside it say, in the foreground, until
SIGTERM. SIGHUP reads the files again, SIGUSR1 writes the state to the log,
SIGUSR2 starts the program anew and closes no connection.
Without -c it serves a built-in example of every kind on loopback and says how
to try each.

Started by systemd it uses the sockets it is given and opens none.
`

func run(p process, c command, args []string) (status int) {
	flags := c.flags()
	file := flags.String(fileOption.letter, "", "")
	if status, ok := p.parse(c, flags, args); !ok {
		return status
	}
	var stops chan os.Signal
	if becoming() {
		stops = daemon.HoldStops()
	}
	hangup := daemon.HoldHangup()
	limitProcs()
	var running atomic.Pointer[daemon.Daemon]
	queue := -1 // with which this process becomes the next one, when all else has ended
	defer func() {
		if queue >= 0 {
			status = p.becomeNext(queue, running.Load())
		}
	}()

	level := new(slog.LevelVar)
	handler, sink := journal.NewHandler(journal.Options{Identifier: "penstock", Level: level, Waiting: func() {
		if d := running.Load(); d != nil {
			d.LogWaiting()
		}
	}})
	defer func() { sink.Close(endPatience(status)) }()
	log := slog.New(handler)
	env := p.environment(log)
	env.Log, env.Level, env.Flush, env.Hangup, env.Stops = log, level, sink.Flush, hangup, stops
	if p.inheritErr != nil {
		return fail(env, p.inheritErr, exitFailed)
	}
	env.Builtin, env.Probe = *file == "", askChild
	env.Stop, env.Control = stopAsked(), p.makeControl(env)
	env.Queues, env.MayExec = queues(p.inherited), func() error { return mayExec(*file, pauses(context.Background())) }
	last := newLastGood(env, *file)
	defer func() { last.wait(endPatience(status)) }()
	over := rest()
	defer over.Stop()
	env.Applied = func() {
		last.keep()
		over.Reset(restAfter)
	}
	env.Load = func(ctx context.Context) (*config.Config, error) {
		return readConfig(*file, config.Loader{Read: last.reading(), Pause: pauses(ctx)})
	}
	if dir := runtimeFolder(); dir != "" {
		end := begin(dir, log)
		defer func() { end(status) }()
	}
	status, queue = p.runDaemon(env, *file, last, &running)
	return status
}

// readConfig has l read the file, or returns the built-in example if there is none.
func readConfig(file string, l config.Loader) (*config.Config, error) {
	if file == "" {
		return config.Builtin(), nil
	}
	return l.Load(file)
}

// pauses returns what a [config.Loader] is told when there are clients, who do not wait
// for it: every few kilobytes the loop may run. The reading ends with ctx.
func pauses(ctx context.Context) func() error {
	return func() error {
		runtime.Gosched()
		return context.Cause(ctx)
	}
}

// endPatience is how long the end of the process waits for a busy journal and for the
// disk. After a hand-over all clients wait too, and the next process writes the same files.
func endPatience(status int) time.Duration {
	if status == exitHandedOver {
		return 50 * time.Millisecond
	}
	return time.Second
}

// runDaemon runs the daemon and turns its errors into an exit status. queue is for
// becomeNext; -1: the process is to end.
func (p process) runDaemon(env daemon.Env, file string, last *lastGood, running *atomic.Pointer[daemon.Daemon]) (status, queue int) {
	cfg, err := readConfig(file, config.Loader{Read: last.reading(), Pipe: !env.Managed}) // nobody waits yet
	if err != nil {
		if cfg, env.Restored = last.restore(err); cfg == nil {
			return fail(env, err, exitConfig), -1
		}
	}
	if !env.Managed {
		var text strings.Builder // cfg would be kept when a reload has replaced it
		welcome(&text, cfg)
		env.Ready = func() { _, _ = io.WriteString(p.stdout, text.String()) }
	}
	d, err := daemon.New(cfg, env)
	if err == nil {
		running.Store(d)
		err = d.Run()
	}
	switch {
	case err == nil:
		return exitOK, -1
	case errors.Is(err, daemon.ErrHandedOver):
		return exitHandedOver, d.Queue()
	case errors.Is(err, daemon.ErrNotHandedOver):
		return exitHandedOver, -1
	case errors.Is(err, daemon.ErrNoSockets):
		return fail(env, err, exitConfig), -1
	}
	return fail(env, err, exitFailed), -1
}

// fail tells the log and the service manager why the process ends.
func fail(env daemon.Env, err error, status int) int {
	report.StartFailed(env.Log, err)
	errno, ok := errors.AsType[unix.Errno](err)
	if !ok {
		errno = unix.EINVAL // the configuration or the environment is wrong
	}
	_ = env.Notifier.Failed(errno, err.Error()) // the log has it in any case
	return status
}

// environment returns what the service manager has passed, if one started the process.
// If the notify socket does not work, the clients are served all the same: a manager
// that insists on READY=1 ends the process itself.
func (p process) environment(log *slog.Logger) (env daemon.Env) {
	env.Version, env.Inherited = version, p.inherited
	var err error
	env.Managed = p.inherited.Activated || os.Getenv("NOTIFY_SOCKET") != "" || startedByUnit()
	if env.Notifier, err = systemd.NewNotifier(); err != nil {
		report.NotifyFailed(log, err)
	}
	if env.Watchdog, err = systemd.WatchdogInterval(); err != nil {
		report.NotifyFailed(log, err)
	}
	return env
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
