// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestWeb: the table [web] makes a socket where its program is installed, any change of
// it changes the socket, and the daemon's own unit says nothing of it.
func TestWeb(t *testing.T) {
	const service = "[service.a]\nkind = \"echo\"\nlisten = [\"127.0.0.1:7\"]\n"
	generate := func(table string, m *Machine) map[string]string {
		t.Helper()
		cfg, mistakes := load(t, service+table)
		if mistakes != nil {
			t.Fatal(mistakes)
		}
		files, err := Generate("/etc/penstock/penstock.toml", cfg, nil, m)
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		for _, f := range files {
			texts[f.Name] = f.Text
		}
		return texts
	}
	there := &Machine{Web: true}
	if files := generate("[web]\n", &Machine{}); files[WebSocket] != "" {
		t.Error("a socket without its service")
	}
	if files := generate("", there); files[WebSocket] != "" {
		t.Error("a socket that nobody has asked for")
	}
	files := generate("[web]\n", there)
	for _, want := range []string{"\nListenStream=127.0.0.1:8377\n", "\nService=penstock-web.service\n", "\nFileDescriptorName=web\n"} {
		if !strings.Contains(files[WebSocket], want) {
			t.Errorf("%s lacks %q:\n%s", WebSocket, want, files[WebSocket])
		}
	}
	if !strings.Contains(files[TargetDropIn], WebSocket) || strings.Contains(files[ServiceDropIn], WebSocket) {
		t.Errorf("the target has\n%s\nthe daemon has\n%s", files[TargetDropIn], files[ServiceDropIn])
	}
	if _, ok := files[WebDropIn]; ok {
		t.Error("a drop-in for a password that there is not")
	}
	other := generate("[web]\npassword_file = \"/etc/penstock/a b\"\n", there)
	if other[WebSocket] == files[WebSocket] {
		t.Error("a change of the table does not change the socket")
	}
	if !strings.Contains(other[WebDropIn], "\nLoadCredential=\"password:/etc/penstock/a b\"\nSetCredential=password:unreadable\n") {
		t.Errorf("the drop-in is\n%s", other[WebDropIn])
	}
	masked := generate("[web]\n", &Machine{Web: true, Overrides: func(string) Override { return Masked }})
	if _, ok := masked[WebSocket]; ok || strings.Contains(masked[TargetDropIn], WebSocket) {
		t.Error("a masked socket is wanted")
	}
}

// TestLook: the program is looked for below the root.
func TestLook(t *testing.T) {
	root := t.TempDir()
	if Look(root).Web {
		t.Error("there is nothing")
	}
	path := filepath.Join(root, webProgram)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if !Look(root).Web {
		t.Error("it is not found")
	}
}

// TestWebIsRead: apply finds again what was generated for the page.
func TestWebIsRead(t *testing.T) {
	folder := t.TempDir()
	files := []File{{WebSocket, "a"}, {WebDropIn, "b"}}
	if err := Write(folder, files); err != nil {
		t.Fatal(err)
	}
	got, err := Read(folder)
	if err != nil || !slices.Equal(got, files) {
		t.Errorf("%v, %v", got, err)
	}
}
