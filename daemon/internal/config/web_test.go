// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const webService = "\n[service.lobby]\nkind='room'\nlisten=['127.0.0.1:7000']\n"

// TestWeb: the table stands for a page on loopback, and what it says more is taken.
func TestWeb(t *testing.T) {
	c, err := Parse("/etc/p.toml", []byte("[web]"+webService))
	if err != nil || c.Web == nil || len(c.Web.Listen) != 1 || c.Web.Listen[0].Text != "127.0.0.1:8377" {
		t.Fatalf("%+v, %v", c.Web, err)
	}
	c, err = Parse("/etc/p.toml", []byte(`[web]
listen = ["8377", "/run/penstock/web.sock"]
services = ["lobby"]
hosts = ["Board.local."]
allow = ["192.0.2.0/24"]
password_file = "secret"`+webService))
	if err != nil {
		t.Fatal(err)
	}
	w := c.Web
	if len(w.Listen) != 2 || w.Services[0] != "lobby" || w.Hosts[0] != "board.local" || w.PasswordFile != "/etc/secret" {
		t.Errorf("%+v", w)
	}
	if c, err := Parse("t.toml", []byte(webService)); err != nil || c.Web != nil {
		t.Errorf("without the table: %+v, %v", c.Web, err)
	}
}

// TestWebAdmits: this machine may ask; others if they are listed, or if nobody is and
// there is a password.
func TestWebAdmits(t *testing.T) {
	listed := &Web{Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, PasswordFile: "/x"}
	for _, tt := range []struct {
		web  *Web
		addr string
		want bool
	}{
		{&Web{}, "127.0.0.1", true},
		{&Web{}, "::1", true},
		{&Web{}, "::ffff:127.0.0.1", true},
		{&Web{}, "192.0.2.1", false},
		{&Web{PasswordFile: "/x"}, "192.0.2.1", true},
		{listed, "192.0.2.1", true},
		{listed, "::ffff:192.0.2.1", true},
		{listed, "198.51.100.1", false},
		{listed, "127.0.0.1", true},
	} {
		if got := tt.web.Admits(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%+v admits %s: %v", tt.web, tt.addr, got)
		}
	}
	if !listed.Admits(netip.Addr{}) {
		t.Error("a client on a Unix socket is refused")
	}
}

// TestWebMistakes: a table with a mistake is not used at all, and services go on.
func TestWebMistakes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"[web]\nservices = ['attic']", `web.services: there is no service "attic"`},
		{"[web]\nservices = ['own']\n[service.own]\nkind = 'echo'\nlisten = ['/run/own']\nallow_uid = [1000]", `web.services: "own" lets users in by allow_uid`},
		{"[web]\nlisten = ['8377']", `web.listen: "[::]:8377" can be reached from other machines`},
		{"[web]\nlisten = ['127.0.0.1:7000']", "web.listen: 127.0.0.1:7000 is opened twice, here and by service.lobby"},
		{"[web]\nlisten = ['/run/penstock/control']", "web.listen: \"/run/penstock/control\": is a place of the daemon"},
		{"[web]\nallow = ['local-subnets']", `web.allow: "local-subnets" is only for services`},
		{"[web]\nhosts = ['board.local:8377']", `web.hosts: "board.local:8377" is not the name of a host`},
		{"[web]\nhosts = ['.']", `web.hosts: "." is not the name of a host`},
		{"[web]\npasword_file = 'x'", `web.pasword_file: unknown key, did you mean "password_file"?`},
		{"[web]\n[service.web]\nkind='echo'\nlisten=['127.0.0.1:1']", "web: cannot be there beside a service of that name"},
	} {
		c, err := Parse("t.toml", []byte(tt.text+webService))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
			continue
		}
		if c.Web != nil || len(c.Services) == 0 {
			t.Errorf("%q: web %+v, %d services", tt.text, c.Web, len(c.Services))
		}
	}
}

// TestWebDropIn: a drop-in that cannot be read may have been about the password.
func TestWebDropIn(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"p.toml": "[web]\n" + webService, "conf.d/x.toml": "[web\npassword_file ="} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "p.toml"))
	if err == nil || c == nil || c.Web != nil || len(c.Services) != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}
