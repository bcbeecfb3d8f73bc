// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/daemon/internal/systemctl"
	"penstock/daemon/internal/unit"
)

// TestOneFileOfTwoSockets: what becomes of the file of a socket that is no more
// when another one, whose path leads there by a link, is to stay, and what is
// done for the other.
func TestOneFileOfTwoSockets(t *testing.T) {
	const real, link, next = "/run/x.sock", "/link/x.sock", "/run/y.sock"
	listens := func(name, path string) unit.File {
		return unit.File{Name: name, Text: "[Socket]\nListenStream=" + path + "\n"}
	}
	tests := []struct {
		name        string
		before, now []unit.File
		owned       string // the path of the socket that is known to have the file
		lost        map[string]string
		stays       bool // the file
	}{
		{
			"the one by the link is removed",
			[]unit.File{listens(socketA, real), listens(socketB, link)},
			[]unit.File{listens(socketA, real)},
			"",
			map[string]string{socketA: link},
			true,
		},
		{
			"the one by the link is removed, and the other has the file",
			[]unit.File{listens(socketA, real), listens(socketB, link)},
			[]unit.File{listens(socketA, real)},
			real, nil, true,
		},
		{
			"the other is removed",
			[]unit.File{listens(socketA, link), listens(socketB, real)},
			[]unit.File{listens(socketA, link)},
			real,
			map[string]string{socketA: real},
			true,
		},
		{
			"one of them moves",
			[]unit.File{listens(socketA, real), listens(socketB, link)},
			[]unit.File{listens(socketA, real), listens(socketB, next)},
			"",
			map[string]string{socketA: link},
			true,
		},
		{
			"another spelling in the same service",
			[]unit.File{listens(socketA, link)},
			[]unit.File{listens(socketA, real)},
			"", nil, true,
		},
		{
			"both go",
			[]unit.File{listens(socketA, real), listens(socketB, link)},
			[]unit.File{listens(socketA, next)},
			"", nil, false,
		},
		{
			"nothing changes",
			[]unit.File{listens(socketA, real), listens(socketB, link)},
			[]unit.File{listens(socketA, real), listens(socketB, link)},
			"", nil, true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "run"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("run", filepath.Join(root, "link")); err != nil {
				t.Fatal(err)
			}
			// The tables of this root list no socket, so nobody listens there.
			l, err := net.Listen("unix", filepath.Join(root, real))
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			a := Applier{Root: root, Out: io.Discard}
			h, want := host{units: map[string]systemctl.Unit{}, owned: map[string]bool{tt.owned: true}}, wanted{}
			for _, f := range tt.now {
				want[f.Name] = wish{text: f.Text}
				h.units[f.Name] = systemctl.Unit{ID: f.Name, Listen: unit.SocketFiles([]unit.File{f})}
			}
			lost := a.lost(tt.before, tt.now, want, h)
			if diff := cmp.Diff(tt.lost, lost); len(tt.lost)+len(lost) > 0 && diff != "" {
				t.Errorf("lost(): -want +got:\n%s", diff)
			}
			if err := a.clear(tt.before, tt.now); err != nil {
				t.Error(err)
			}
			if stays := reachable(root, real); stays != tt.stays {
				t.Errorf("after clear() the file is there: %v, want %v", stays, tt.stays)
			}
		})
	}
}
