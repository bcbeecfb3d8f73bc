// SPDX-License-Identifier: Apache-2.0

package evloop

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What a back end knows of the kernel's edges, and which of the two back ends it
// is, stays in the io_* files: no other file of the product reads or sets an
// edge, says at which edges a descriptor is reported, asks the kernel about one, or
// names a back end's type. A Watch alone ends its own registration, which is
// epoll's under either back end.
func TestEdgesStayWithTheBackEnd(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	inside := regexp.MustCompile(`^(edge([A-Z]\w*)?|epoll|ring|intake|EPOLL(ET|OUT|RDHUP|HUP|ERR)|POLL[A-Z]+|poll|epoll(Add|Mod|Del|Ctl|Wait))$`)
	set := gotoken.NewFileSet()
	known := map[string]int{}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			ast.Inspect(d, func(n ast.Node) bool {
				id, ok := n.(*ast.Ident)
				switch {
				case !ok || !inside.MatchString(id.Name):
				case strings.HasPrefix(path, "io_"):
					known[id.Name]++
				case path == "conn.go" && id.Name == "edge":
					known["Conn.edge"]++
				case path == "watch.go" && id.Name == "epollDel":
				default:
					t.Errorf("%s: %s is for the io_* files", set.Position(id.Pos()), id.Name)
				}
				return true
			})
		}
	}
	for name, want := range map[string]int{"edgeReadable": 5, "edgeStuck": 5, "epoll": 5, "ring": 5, "edge": 20} {
		if known[name] < want {
			t.Errorf("%s is named %d times in the io_* files: this test looks for what is there no more", name, known[name])
		}
	}
	if known["Conn.edge"] != 2 { // the field and its type
		t.Errorf("conn.go names edge %d times, want only the field", known["Conn.edge"])
	}
}
