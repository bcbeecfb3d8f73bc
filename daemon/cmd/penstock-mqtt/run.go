// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"
	"golang.org/x/sys/unix"

	"penstock/daemon/internal/boards"
	"penstock/daemon/internal/config"
	"penstock/systemd"
	"penstock/systemd/journal"
)

// run is the command.
func (p process) run(args []string) int {
	flags := flag.NewFlagSet("penstock-mqtt", flag.ContinueOnError)
	flags.SetOutput(p.stderr)
	flags.Usage = func() { fmt.Fprint(p.stderr, usage) }
	file := flags.String("c", "", "")
	socket := flags.String("socket", "", "")
	folder := flags.String("state", os.Getenv("STATE_DIRECTORY"), "")
	if err := flags.Parse(args); err != nil {
		return exitUsage
	}
	if flags.NArg() > 0 || *file == "" {
		fmt.Fprint(p.stderr, usage)
		return exitUsage
	}
	handler, sink := journal.NewHandler(journal.Options{Identifier: "penstock-mqtt"})
	defer sink.Close(time.Second)
	log := slog.New(handler)
	stop, unhook := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer unhook()
	g, err := newGate(*file, *socket, *folder, log)
	if err == nil {
		err = g.run(stop)
	}
	if err != nil {
		log.Error("not connected", slog.Any("err", err))
		if errors.Is(err, errConfig) {
			return exitConfig
		}
		return exitFailed
	}
	return exitOK
}

// errConfig means that another start would find the same.
var errConfig = errors.New("configuration")

// load reads the table [mqtt], what services say about it, and the files that it names.
func load(file string) (*config.Config, secrets, error) {
	cfg, err := config.Loader{Sockets: true}.Load(file)
	if cfg == nil || cfg.MQTT == nil { // mistakes elsewhere are the daemon's business
		if err == nil {
			err = fmt.Errorf("%s has no table [mqtt]", file)
		}
		return nil, secrets{}, fmt.Errorf("%w: %w", errConfig, err)
	}
	s, err := readSecrets(cfg.MQTT)
	if err != nil {
		return nil, s, fmt.Errorf("%w: %w", errConfig, err)
	}
	return cfg, s, nil
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

// A gate is all that runs.
type gate struct {
	log       *slog.Logger
	door      *door
	keep      *keeper
	broker    *broker
	monitor   *monitor
	retainer  *retainer
	followers []*follower
	takers    map[string][]*taker // by topic
	rooms     map[string]*shared  // by the room's name

	alive context.Context // ends before the connection does

	mu    sync.Mutex // guards the following
	link  string     // the state of the connection
	reach map[string]boards.Reach
}

func newGate(file, socket, folder string, log *slog.Logger) (*gate, error) {
	cfg, s, err := load(file)
	if err != nil {
		return nil, err
	}
	return assemble(cfg, s, func() string { return controlPath(socket) }, folder, log), nil
}

// assemble makes the parts, of which none runs yet.
func assemble(cfg *config.Config, s secrets, path func() string, folder string, log *slog.Logger) *gate {
	g := &gate{log: log, keep: &keeper{folder: folder, quick: os.Getenv("RUNTIME_DIRECTORY"), log: log}, takers: make(map[string][]*taker), rooms: make(map[string]*shared), reach: make(map[string]boards.Reach)}
	few := &limited{log: log}
	g.door = &door{path: path, log: log, few: few}
	var files *spoolFiles
	if folder != "" {
		var err error
		if files, err = openSpool(g.keep.path("spool"), log); err != nil {
			log.Warn("messages not written to the disk", slog.Any("err", err))
		}
	}
	sp := newSpool(files, func(reason string, n int) { few.count("message dropped", n, slog.String("reason", reason)) })
	g.broker = newBroker(cfg.MQTT, s, log, sp)
	var before remembered
	g.keep.load("state", &before)
	g.retainer = newRetainer(cfg, g.broker, before.Retained)
	g.monitor = newMonitor(g.door, names(watched(cfg)), g.retainer.device)
	g.broker.tell, g.broker.take, g.broker.up, g.broker.down = g.tell, g.take, g.up, g.down
	for _, of := range cfg.Services {
		g.add(of, before.Cursors[of.Name])
	}
	return g
}

// add makes what a service asks for.
func (g *gate) add(s *config.Service, at cursor) {
	if s.MQTT == nil {
		return
	}
	if s.MQTT.Publish != "" {
		p := newPublisher(s, g.broker)
		g.followers = append(g.followers, &follower{service: s.Name, door: g.door, each: p.took, at: at})
	}
	if s.MQTT.Subscribe != "" {
		t := newTaker(s, g.broker.conf.BoardName(), g.door)
		g.takers[t.topic] = append(g.takers[t.topic], t)
		g.subscribe(t.filter())
	}
	if s.MQTT.Room != "" {
		x := g.newShared(s)
		g.rooms[x.name] = x
		g.retainer.want[x.boardTopic()] = nil // as the room says
		for _, f := range x.filters() {
			g.subscribe(f)
		}
	}
}

// subscribe has a topic subscribed to, once: a second subscription takes the place of the
// first, so that the one there is has the higher QoS of both.
func (g *gate) subscribe(f filter) {
	for i := range g.broker.filters {
		if old := &g.broker.filters[i]; old.topic == f.topic {
			old.qos = max(old.qos, f.qos)
			return
		}
	}
	g.broker.filters = append(g.broker.filters, f)
}

// up is called when there is a connection.
func (g *gate) up() {
	g.retainer.publish()
	g.monitor.devices()
	for _, x := range g.rooms {
		x.put(g.alive, (*boards.Room).Up)
	}
}

// down is called when it is gone.
func (g *gate) down() {
	for _, x := range g.rooms {
		x.put(g.alive, (*boards.Room).Down)
	}
}

// longestState is the most bytes that the daemon shows of a state.
const longestState = 256

// tell says how the connection is.
func (g *gate) tell(link string) {
	g.mu.Lock()
	g.link = link
	g.mu.Unlock()
	g.status()
}

// reached says how many boards are in a room.
func (g *gate) reached(room string, r boards.Reach) {
	g.mu.Lock()
	g.reach[room] = r
	g.mu.Unlock()
	g.status()
}

// status has the daemon show how things are.
func (g *gate) status() {
	g.mu.Lock()
	defer g.mu.Unlock() // also while it is told: what is told last is what is so
	s := g.link
	for _, name := range slices.Sorted(maps.Keys(g.reach)) {
		switch r := g.reach[name]; {
		case !r.Up:
			s += fmt.Sprintf("; room %s: alone", name)
		case r.Boards == 1:
			s += fmt.Sprintf("; room %s: 1 other board", name)
		default:
			s += fmt.Sprintf("; room %s: %d other boards", name, r.Boards)
		}
	}
	g.monitor.tell(strings.ToValidUTF8(s[:min(len(s), longestState)], ""))
}

// take is called with each message that the broker sends.
func (g *gate) take(p *paho.Publish) {
	room := roomOf(p.Topic)
	takers, x := g.takers[p.Topic], g.rooms[room]
	switch {
	case len(takers) > 0:
		for _, t := range takers {
			if g.alive.Err() != nil { // nobody passes it on
				t.refuse(reasonEnds)
				continue
			}
			t.take(p)
		}
		return
	case x != nil:
		x.heard(p)
		return
	case len(g.rooms) > 0 && strings.HasPrefix(p.Topic, statusTopic("")):
		for _, x := range g.rooms {
			x.heard(p)
		}
		if p.Topic == statusTopic(g.broker.conf.BoardName()) && string(p.Payload) == offline {
			g.broker.deny() // it was the will of a connection before
		}
		return
	}
	// Of an earlier configuration, whose session the broker has kept.
	g.door.few.warn(messageRefused, slog.String("topic", clean(p.Topic)), slog.String("reason", reasonTopic))
	switch {
	case room != "":
		g.broker.forget(boards.Filters(room, g.broker.conf.BoardName())[1:]...)
	case strings.HasPrefix(p.Topic, statusTopic("")):
		g.broker.forget(boards.BoardTopic("+"))
	default:
		g.broker.forget(p.Topic)
	}
}

// run is the life of the process.
func (g *gate) run(stop context.Context) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g.alive = ctx
	g.tell("not connected: it is tried")
	if err := g.broker.start(context.WithoutCancel(stop)); err != nil {
		return err
	}
	var running sync.WaitGroup
	running.Go(func() { g.monitor.run(ctx) })
	running.Go(func() { g.tick(ctx) })
	for _, f := range g.followers {
		running.Go(func() { f.run(ctx) })
	}
	for _, x := range g.rooms {
		running.Go(func() { x.run(ctx) })
	}
	for _, takers := range g.takers {
		for _, t := range takers {
			running.Go(func() { t.run(ctx) })
		}
	}
	notifier, err := systemd.NewNotifier()
	if err == nil {
		err = notifier.Ready("")
	}
	if err != nil {
		g.log.Warn("service manager not told", slog.Any("err", err))
	}
	<-stop.Done()
	cancel()
	running.Wait()
	g.broker.stop()
	g.save(true)
	g.door.few.end()
	g.broker.few.end()
	return nil
}

// tick does what is done now and then.
func (g *gate) tick(ctx context.Context) {
	ticker := time.NewTicker(saveAfter)
	defer ticker.Stop()
	saved := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		g.broker.spool.save(true)
		if time.Since(saved) >= keepEvery && g.save(false) {
			saved = time.Now()
		}
	}
}

// save writes what is to outlive the process. A cursor must not be ahead of what the broker
// has and the disk holds: after a crash, messages are published twice rather than not at all.
func (g *gate) save(last bool) (done bool) {
	st := remembered{Cursors: make(map[string]cursor), Retained: g.retainer.topics()}
	for _, f := range g.followers {
		if at := f.cursor(); at.Series != "" {
			st.Cursors[f.service] = at
		}
	}
	if !last {
		g.broker.spool.save(false)
		if g.broker.spool.flight.count.Load() > 0 {
			return false // the next tick tries again
		}
	}
	g.keep.save("state", st)
	return true
}
