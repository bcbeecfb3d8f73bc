// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/daemon/internal/config"
)

// load parses a text that may be wrong.
func load(t *testing.T, text string) (*config.Config, error) {
	t.Helper()
	return config.Parse("/etc/penstock/penstock.toml", []byte(text))
}

const echo = "kind = \"echo\"\nlisten = [\"127.0.0.1:7000\"]\n"

func TestGenerateWritesNoMoreThanNeeded(t *testing.T) {
	tests := []struct {
		name, text string
		own        map[string]Override
		want       []string
	}{
		{"nothing to serve is reported", "", nil, []string{ErrorReport, ReportDropIn}},
		{"a service", "[service.a]\n" + echo, nil, []string{
			"penstock-a.socket", ServiceDropIn, TargetDropIn,
		}},
		{"a handler opens the sandbox", "[service.a]\nkind = \"handler\"\nlisten = [\"7\"]\ncommand = [\"/bin/cat\"]\n", nil, []string{
			"penstock-a.socket", HandlersDropIn, ServiceDropIn, TargetDropIn,
		}},
		{"so does an exec", "[service.a]\nkind = \"exec\"\nlisten = [\"7\"]\ncommand = [\"/bin/cat\"]\n", nil, []string{
			"penstock-a.socket", HandlersDropIn, ServiceDropIn, TargetDropIn,
		}},
		{"a proxy to a file opens nothing", "[service.a]\nkind = \"proxy\"\nlisten = [\"7\"]\nto = [\"/run/b\"]\n", nil, []string{
			"penstock-a.socket", ServiceDropIn, TargetDropIn,
		}},
		{"a proxy to an address opens the network", "[service.a]\nkind = \"proxy\"\nlisten = [\"7\"]\nto = [\"/run/b\", \"192.0.2.1:80\"]\n", nil, []string{
			"penstock-a.socket", ProxiesDropIn, ServiceDropIn, TargetDropIn,
		}},
		{"a mistake leaves the other service its socket", "[service.a]\n" + echo + "[service.b]\nkind = \"ehco\"\n", nil, []string{
			"penstock-a.socket", ErrorReport, ReportDropIn, ServiceDropIn, TargetDropIn,
		}},
		{"nothing but mistakes", "[service.b]\nkind = \"ehco\"\n", nil, []string{ErrorReport, ReportDropIn}},
		{"an administrator's unit is not written again", "[service.a]\n" + echo, map[string]Override{"penstock-a.socket": Own}, []string{
			ServiceDropIn, TargetDropIn,
		}},
		{"a masked one is not even wanted", "[service.a]\n" + echo, map[string]Override{"penstock-a.socket": Masked}, []string{
			ServiceDropIn,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, mistakes := load(t, tt.text)
			files, err := Generate("/etc/penstock/penstock.toml", cfg, mistakes, &Machine{Overrides: func(name string) Override { return tt.own[name] }})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range files {
				got = append(got, f.Name)
			}
			slices.Sort(tt.want)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("files -want +got:\n%s", diff)
			}
		})
	}
}

// TestExecTasks: the programs of all clients have room beside those of the unit.
func TestExecTasks(t *testing.T) {
	cfg, _ := load(t, "[service.a]\nkind = \"exec\"\nlisten = [\"7\"]\ncommand = [\"/srv/a\"]\nmax_children = 100\n"+
		"[service.b]\nkind = \"handler\"\nlisten = [\"8\"]\ncommand = [\"/srv/b\"]\n")
	files, err := Generate("/etc/penstock/penstock.toml", cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := read(t, file(t, files, HandlersDropIn))
	if got := lines["Service.TasksMax"]; len(got) != 1 || got[0] != "464" {
		t.Errorf("TasksMax=%v, want 464", got)
	}
	if got := fmt.Sprint(lines["Service.ExecPaths"]); !strings.Contains(got, "-/srv/a") || !strings.Contains(got, "-/srv/b") {
		t.Errorf("ExecPaths=%v", got)
	}
}

// TestTargetStartsService: if a source is to be heard without a client, the target starts
// the service after itself: the other way round the order would be a circle.
func TestTargetStartsService(t *testing.T) {
	const bridge = "[service.a]\nkind = \"bridge\"\nlisten = [\"7\"]\ndevice = \"/dev/ttyS0\"\n"
	for text, want := range map[string]bool{
		bridge:                          true,
		bridge + "start = \"client\"\n": false,
		"[service.a]\n" + echo:          false,
		bridge + "[service.b]\n" + echo: true,
	} {
		cfg, mistakes := load(t, text)
		files, err := Generate("/etc/penstock/penstock.toml", cfg, mistakes, nil)
		if err != nil {
			t.Fatal(err)
		}
		target := file(t, files, TargetDropIn)
		lines := read(t, target)
		wants, before := slices.Contains(lines["Unit.Wants"], Service), slices.Contains(lines["Unit.Before"], Service)
		if wants != want || before != want || StartsService(target) != want || slices.Contains(lines["Unit.Upholds"], Service) {
			t.Errorf("%s\n%s", text, target)
		}
	}
}

func TestGenerateWithoutConfiguration(t *testing.T) {
	files, err := Generate("/etc/penstock/penstock.toml", nil, errors.New("permission denied"), nil)
	if err != nil || len(files) != 2 {
		t.Fatalf("Generate() = %d files, %v, want the report and the drop-in that wants it", len(files), err)
	}
	if got := read(t, file(t, files, ReportDropIn))["Unit.Wants"]; !slices.Equal(got, []string{ErrorReport}) {
		t.Errorf("the target wants %q", got)
	}
}

// TestGenerateOmitsWhatCannotBeSaid: a Config that did not come from the
// parser may hold anything; nothing of it may become a line of its own.
func TestGenerateOmitsWhatCannotBeSaid(t *testing.T) {
	good := &config.Service{Name: "good", Listen: []config.Address{{Text: "127.0.0.1:1", Network: "tcp"}}}
	bad := &config.Service{Name: "bad", Listen: []config.Address{{Text: "/run/x\nService=other.service", Network: "unix"}}}
	files, err := Generate("/x", &config.Config{Services: []*config.Service{bad, good}}, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "service bad") {
		t.Errorf("error is %v, want one that names the service", err)
	}
	for _, f := range files {
		if strings.Contains(f.Text, "other.service") || strings.Contains(f.Text, "bad") {
			t.Errorf("%s holds the service:\n%s", f.Name, f.Text)
		}
	}
	file(t, files, "penstock-good.socket")
}

// TestLimitCoversTheDaemon: the daemon must find all the descriptors that it
// asks for, and the limit must not follow every small change.
func TestLimitCoversTheDaemon(t *testing.T) {
	for _, connections := range []int{1, 974, 975, 976, 4096, 1 << 20} {
		cfg := &config.Config{Limits: config.Limits{Connections: connections}}
		got := openFiles(cfg)
		if need := connections + cfg.ReservedFiles() + config.ControlFiles; got < need || got >= need+filesStep || got%filesStep != 0 {
			t.Errorf("openFiles with %d connections = %d, need %d", connections, got, need)
		}
	}
}

func TestPortOfAllAddressesSurvivesAKernelWithoutIPv6(t *testing.T) {
	cfg, err := load(t, "[service.a]\nkind = \"echo\"\nlisten = [\"[::]:7000\"]\n")
	if err != nil {
		t.Fatal(err)
	}
	text, err := socketText("/x", cfg.Services[0])
	if err != nil || !strings.Contains(text, "ListenStream=7000\n") {
		t.Errorf("socketText() = %q, %v, want the bare port", text, err)
	}
}

// A socket of IPv6 takes IPv4 as well whatever the machine's default is; one
// of IPv4 has no such line.
func TestBothFamilies(t *testing.T) {
	for listen, want := range map[string]bool{"7000": true, "[::1]:7000": true, "127.0.0.1:7000": false, "/run/x.sock": false} {
		cfg, err := load(t, "[service.a]\nkind = \"echo\"\nlisten = [\""+listen+"\"]\n")
		if err != nil {
			t.Fatal(err)
		}
		text, err := socketText("/x", cfg.Services[0])
		if got := strings.Contains(text, "\nBindIPv6Only=both\n"); err != nil || got != want {
			t.Errorf("%s: BindIPv6Only=both is %v, %v, want %v", listen, got, err, want)
		}
	}
}

// A service that asks for the machine's networks has an IPv4 socket to ask, and
// the other one leaves it the port.
func TestSocketForTheNetworks(t *testing.T) {
	for _, key := range []string{"allow", "deny"} {
		cfg, err := load(t, "[service.a]\nkind = \"echo\"\nlisten = [\"7000\", \"192.0.2.1:7001\"]\n"+key+" = [\"local-subnets\"]\n")
		if err != nil {
			t.Fatal(err)
		}
		text, err := socketText("/x", cfg.Services[0])
		const streams = "\nListenStream=0.0.0.0:7000\nListenStream=[::]:7000\nListenStream=192.0.2.1:7001\n"
		if err != nil || !strings.Contains(text, streams) || !strings.Contains(text, "\nBindIPv6Only=ipv6-only\n") {
			t.Errorf("%s: socketText() = %q, %v, want %q, and IPv6 only", key, text, err, streams)
		}
	}
}

func TestOverrides(t *testing.T) {
	root := t.TempDir()
	put := func(name, target, text string) {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil && target != "" {
			err = os.Symlink(target, path)
		} else if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("etc/systemd/system/masked.socket", "/dev/null", "")
	put("run/systemd/system/masked-for-now.socket", "/dev/null", "")
	put("etc/systemd/system/empty.socket", "", "")
	put("etc/systemd/system/own.socket", "", "[Socket]\n")
	put("etc/systemd/system/dangling.socket", "/nowhere", "")
	put("etc/systemd/system/both.socket", "", "[Socket]\n")
	put("run/systemd/system/both.socket", "/dev/null", "")
	put("etc/systemd/system/drop-in.socket.d/x.conf", "", "[Socket]\n")
	tests := []struct {
		name string
		want Override
	}{
		{"masked", Masked},
		{"masked-for-now", Masked},
		{"empty", Masked},
		{"own", Own},
		{"dangling", None}, // systemd skips it as well
		{"both", Own},      // /etc before /run
		{"drop-in", None},  // is merged with ours
		{"absent", None},
	}
	look := Overrides(root)
	for _, tt := range tests {
		if got := look(tt.name + ".socket"); got != tt.want {
			t.Errorf("override of %s = %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestWriteAndRead(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "normal")
	files := []File{{"penstock-a.socket", "a"}, {ErrorReport, "b"}, {ServiceDropIn, "c"}, {ReportDropIn, "d"}, {TargetDropIn, "e"}}
	if got, err := Read(folder); err != nil || len(got) != 0 {
		t.Errorf("Read of a missing folder = %v, %v", got, err)
	}
	if err := Write(folder, files); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "dev-sda1.swap"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := Read(folder)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	if diff := cmp.Diff(files, got); diff != "" {
		t.Errorf("-written +read:\n%s", diff)
	}
}

// TestWriteGoesOn: one file that cannot be written does not cost the others.
func TestWriteGoesOn(t *testing.T) {
	folder := t.TempDir()
	err := os.Mkdir(filepath.Join(folder, "penstock-a.socket"), 0o755)
	if err != nil {
		t.Fatal(err)
	}
	err = Write(folder, []File{{"penstock-a.socket", "a"}, {"penstock-b.socket", "b"}})
	if err == nil || !strings.Contains(err.Error(), "penstock-a.socket") {
		t.Errorf("Write() = %v, want an error that names the file", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "penstock-b.socket")); err != nil {
		t.Error(err)
	}
}

// TestSeedKeepsWhatIsThere: a daemon-reload must not make the generator forget
// with which units the sockets were opened; apply replaces them as a whole.
func TestSeedKeepsWhatIsThere(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "run", "applied")
	first, second := []File{{"penstock-a.socket", "a"}, {ServiceDropIn, "c"}}, []File{{"penstock-a.socket", "a2"}}
	steps := []struct {
		name  string
		write func(string, []File) error
		files []File
		want  []File
	}{
		{"at boot", Seed, first, first},
		{"at a daemon-reload", Seed, second, first},
		{"by apply", Replace, second, second},
		{"by apply without services", Replace, nil, nil},
	}
	for _, s := range steps {
		if err := s.write(folder, s.files); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		got, err := Read(folder)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", s.name, diff)
		}
	}
}

// TestKeep: a mistake changes nothing about sockets that were applied, wherever
// it is; only the report of it is new, or gone.
func TestKeep(t *testing.T) {
	report := []File{{ErrorReport, "report"}, {ReportDropIn, "wants it"}}
	partly := append([]File{{"penstock-b.socket", "b2"}, {TargetDropIn, "b"}}, report...)
	applied := []File{{"penstock-a.socket", "a"}, {"penstock-b.socket", "b"}, {TargetDropIn, "a b"}}
	tests := []struct {
		name                 string
		applied, files, want []File
	}{
		{"at boot there is nothing to keep", nil, partly, partly},
		{"one service has a mistake, another was changed", applied, partly, append(slices.Clone(report), applied...)},
		{"the file is no TOML", applied, report, append(slices.Clone(report), applied...)},
		{"an old report is not kept", []File{{ErrorReport, "old"}, {ReportDropIn, "old"}}, partly, partly},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			byName := func(a, b File) int { return strings.Compare(a.Name, b.Name) }
			slices.SortFunc(tt.want, byName)
			got := Keep(tt.applied, tt.files)
			slices.SortFunc(got, byName)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
