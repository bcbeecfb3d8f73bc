// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
	"penstock/systemd"
	"penstock/systemd/journal"
)

const (
	// leaveAfter is how long the process stays when nobody asks, if the service manager
	// can start it again.
	leaveAfter = 60 * time.Second
	// goodbye is how long requests have to come to their end.
	goodbye = 5 * time.Second
	// mostConns is how many connections there are at once; others wait in the backlog.
	mostConns = 256
)

// run is the command.
func (p process) run(args []string) int {
	flags := flag.NewFlagSet("penstock-web", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	flags.Usage = func() { fmt.Fprint(p.stderr, usage) }
	file := flags.String("c", "", "")
	socket := flags.String("socket", "", "")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if flags.NArg() > 0 {
		fmt.Fprint(p.stderr, usage)
		return exitUsage
	}
	handler, sink := journal.NewHandler(journal.Options{Identifier: "penstock-web"})
	defer sink.Close(time.Second)
	log := slog.New(handler)
	if err := p.serve(log, *file, *socket); err != nil {
		log.Error("not served", slog.Any("err", err))
		if errors.Is(err, errConfig) {
			return exitConfig
		}
		return exitFailed
	}
	return exitOK
}

// errConfig means that another start would find the same.
var errConfig = errors.New("configuration")

// load reads the table [web], what is to be known of the services, and the password.
func load(file string) (*config.Config, *password, error) {
	cfg, err := config.Builtin(), error(nil)
	if file != "" {
		cfg, err = config.Loader{Sockets: true}.Load(file)
	}
	if cfg == nil || cfg.Web == nil { // mistakes elsewhere are the daemon's business
		if err == nil {
			err = fmt.Errorf("%s has no table [web]", file)
		}
		return nil, nil, fmt.Errorf("%w: %w", errConfig, err)
	}
	if cfg.Web.PasswordFile == "" {
		return cfg, nil, nil
	}
	pass, err := readPassword(cfg.Web.PasswordFile)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errConfig, err)
	}
	return cfg, pass, nil
}

// serve is the life of the process. One that was started by a request stays even if the
// configuration has a mistake: the request waits, and would start it again and again.
func (p process) serve(log *slog.Logger, file, socket string) error {
	if p.inheritErr != nil {
		return p.inheritErr
	}
	cfg, pass, mistake := load(file)
	few := &limited{log: log}
	admits := func(netip.Addr) bool { return true } // with a mistake nothing says who may ask
	if mistake == nil {
		admits = cfg.Web.Admits
	}
	places := newPlaces(admits, few)
	after := time.Duration(0)
	var listeners []net.Listener
	var err error
	switch {
	case p.inherited.Activated:
		after = leaveAfter
		listeners, err = inherit(p.inherited.Sockets, places)
	case mistake != nil:
		return mistake
	default:
		listeners, err = open(cfg.Web.Listen, places)
	}
	if err != nil {
		return err
	}
	if !p.inherited.Activated {
		for _, l := range listeners {
			fmt.Fprintln(p.stdout, "the page of penstock:", address(l.Addr()))
		}
	}
	stop, unhook := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer unhook()
	var s *server
	if mistake != nil {
		log.Error("not served", slog.Any("err", mistake))
		s = newExcuse(mistake, few, after)
	} else {
		s = newServer(cfg, pass, source{func() string { return controlPath(socket) }, sleeps}, few, after)
	}
	notifier, err := systemd.NewNotifier()
	if err == nil {
		err = notifier.Ready("")
	}
	if err != nil {
		log.Warn("service manager not told", slog.Any("err", err))
	}
	return s.run(stop, listeners)
}

// address returns what to type into a browser.
func address(a net.Addr) string {
	if a.Network() == "unix" {
		return a.String()
	}
	return "http://" + a.String() + "/"
}

// controlVariable says which daemon to ask, as for the commands of penstock.
const controlVariable = "PENSTOCK_CONTROL"

// controlPath returns where to ask the daemon, as the commands of penstock find it.
func controlPath(socket string) string {
	if path := cmp.Or(socket, os.Getenv(controlVariable)); path != "" {
		return path
	}
	folder := filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "penstock")
	if !filepath.IsAbs(folder) {
		folder = "/tmp/penstock-" + strconv.Itoa(os.Geteuid())
	}
	var st unix.Stat_t
	private := unix.Lstat(folder, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&0o022 == 0 && int(st.Uid) == os.Geteuid()
	if own := filepath.Join(folder, "control"); private {
		if _, err := os.Stat(own); err == nil {
			return own
		}
	}
	return config.ControlPath
}

// A server is all that runs.
type server struct {
	http *http.Server
	site *site
	end  context.CancelFunc
}

func newServer(cfg *config.Config, pass *password, ask source, few *limited, after time.Duration) *server {
	host, err := os.Hostname()
	if err != nil {
		host = "penstock" // it is only shown
	}
	paint := newPainter(host, cfg)
	ending, end := context.WithCancel(context.Background())
	s := &site{
		web: cfg.Web, source: ask, feed: newFeed(ask, paint), ends: paint.ends,
		streams: make(chan struct{}, mostStreams), terminals: make(chan struct{}, mostTerminals),
		idle: newIdle(after), ending: ending, log: few,
	}
	return &server{
		http: &http.Server{
			Handler:           &gate{web: cfg.Web, password: pass, log: few, next: s.handler()},
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       20 * time.Second, // a body that never comes would keep its place; above passwordPatience
			WriteTimeout:      writePatience,
			IdleTimeout:       2 * time.Minute,
			MaxHeaderBytes:    16 << 10,
			ConnState:         s.idle.changed,
			ConnContext:       withPeer,
			ErrorLog:          slog.NewLogLogger(few.log.Handler(), slog.LevelDebug), // what a stranger's connection ends with
		},
		site: s, end: end,
	}
}

// newExcuse answers every request with a mistake of the configuration. It leaves after a
// time even if somebody asks, and the next request finds the mended one.
func newExcuse(mistake error, few *limited, after time.Duration) *server {
	s := newServer(&config.Config{Web: &config.Web{}}, nil, source{}, few, after)
	s.http.ConnState = nil
	s.http.Handler = excuse(mistake)
	return s
}

// run serves until stop is done, or until nobody has asked for a while.
func (s *server) run(stop context.Context, listeners []net.Listener) error {
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- s.http.Serve(l) }()
	}
	var err error
	select {
	case <-stop.Done():
	case <-s.site.idle.done:
	case err = <-failed:
	}
	s.end()
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // some have not come to their end
	}
	s.site.lasting.Wait()
	s.site.feed.end()
	return err
}
