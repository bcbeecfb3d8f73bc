// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"penstock/daemon/internal/config"
)

// FuzzSocket: what the configuration accepts, systemd reads back as the same
// from the generated unit. The values go through the TOML parser, so that the
// property holds for what a user can write and not only for what is sensible.
func FuzzSocket(f *testing.F) {
	f.Add("lobby", "127.0.0.1:7000", "", "", "")
	f.Add("a-b_c9-", "7000", "eth0", "www-data", "10.0.0.0/8")
	f.Add("x", "[fe80::1]:7000%eth0", "br0.1", "0", "any")
	f.Add("x", "/run/100% sure.sock", "", "root", "")
	f.Add("x", `@"quoted" \n 'and' %n`, "", "", "")
	f.Add("x", "/run/x\nExecStartPre=/bin/sh", "a\nb", "a\nb", "any\nb")
	f.Add("x", "/run/#;=[]\\ .sock", "", "", "::1")
	f.Add("x", "/run/\u00a0\u2028ü.sock", "", "", "fe80::/10")
	f.Fuzz(func(t *testing.T, name, address, device, user, source string) {
		service := map[string]any{
			"kind": "echo", "listen": []string{address, "@second"},
			"bind_device": device, "socket_user": user, "socket_group": user,
		}
		if source != "" {
			service["ip_allow"] = []string{source, "localhost"}
		}
		s := parse(t, name, service)
		if s == nil {
			return
		}
		files, err := Generate("/etc/penstock/penstock.toml", &config.Config{Services: []*config.Service{s}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		u := read(t, file(t, files, SocketName(name)))
		var listen []config.Address
		for _, text := range u["Socket.ListenStream"] {
			a, err := config.ParseAddress(text)
			if err != nil {
				t.Fatal(err)
			}
			listen = append(listen, a)
		}
		if !slices.Equal(listen, s.Listen) {
			t.Errorf("listens on %v, want %v", listen, s.Listen)
		}
		allow := strings.Join(s.IPAllow, " ")
		if s.Families()&config.TCP == 0 {
			allow = "" // there is nobody it would be about
		}
		for key, want := range map[string]string{
			"FileDescriptorName": s.Name, "BindToDevice": s.BindDevice,
			"SocketUser": s.SocketUser, "SocketGroup": s.SocketGroup,
			"IPAddressAllow": allow,
		} {
			if got := strings.Join(u["Socket."+key], "\n"); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		for _, dropIn := range []string{ServiceDropIn, TargetDropIn} {
			if got := read(t, file(t, files, dropIn))["Unit.Wants"]; !slices.Equal(got, []string{SocketName(name)}) {
				t.Errorf("%s wants %q", dropIn, got)
			}
		}
	})
}

// FuzzHandler: the path of a handler's program arrives as one word, and no
// other program becomes executable with it.
func FuzzHandler(f *testing.F) {
	for _, path := range []string{"/opt/x", "/opt/a b", `/opt/"x"`, `/opt/'\`, "/opt/%n", "/usr/bin/x", "/usr", "/opt/-/+x", "/ü "} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		s := parse(t, "x", map[string]any{"kind": "handler", "listen": []string{"7"}, "command": []string{path, "/bin/sh"}})
		if s == nil {
			return
		}
		files, err := Generate("/x", &config.Config{Services: []*config.Service{s}}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		lines := read(t, file(t, files, HandlersDropIn))["Service.ExecPaths"]
		allowed := []string{}
		for _, l := range lines {
			allowed = append(allowed, words(t, l)...)
		}
		if extra := allowed[len(programFolders):]; len(extra) > 0 {
			if !slices.Equal(extra, []string{"-" + path}) {
				t.Errorf("%q may be executed, want %q alone", extra, path)
			}
			return
		}
		if !slices.ContainsFunc(allowed, func(f string) bool { return strings.HasPrefix(path, strings.TrimPrefix(f, "-")+"/") }) {
			t.Errorf("%q may not be executed", path)
		}
	})
}

// parse returns the only service of a text, or nil if it is refused.
func parse(t *testing.T, name string, service map[string]any) *config.Service {
	t.Helper()
	text, err := toml.Marshal(map[string]any{"service": map[string]any{name: service}})
	if err != nil {
		return nil // not UTF-8, for example
	}
	c, err := config.Parse("x.toml", text)
	if err != nil {
		return nil
	}
	return c.Services[0]
}

func file(t *testing.T, files []File, name string) string {
	t.Helper()
	for _, f := range files {
		if f.Name == name {
			return f.Text
		}
	}
	t.Fatalf("there is no %s", name)
	return ""
}

// read parses a unit as systemd does, into "Section.Key" and its values, but
// strictly: what systemd would warn about, replace or join is an error.
//
// Source: systemd.syntax(7), and systemd.unit(5) for specifiers.
func read(t *testing.T, text string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	section := ""
	if !strings.HasSuffix(text, "\n") {
		t.Fatalf("%q does not end in a newline", text)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case line == "", line[0] == '#':
			continue
		case strings.ContainsAny(line, "\r\x00"):
			t.Fatalf("%q holds an end of line", line)
		case strings.HasSuffix(line, `\`):
			t.Fatalf("%q goes on in the next line", line)
		case line[0] == '[':
			section = strings.Trim(line, "[]")
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok || section == "" || key == "" || strings.Trim(value, " \t") != value {
			t.Fatalf("%q is not an assignment", line)
		}
		plain, err := expand(value)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out[section+"."+key] = append(out[section+"."+key], plain)
	}
	return out
}

// expand replaces the only specifier there may be.
func expand(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if i++; i == len(s) || s[i] != '%' {
				return "", fmt.Errorf("specifier at %d", i)
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), nil
}

// words splits a value as extract_first_word of systemd does with quotes.
func words(t *testing.T, s string) (out []string) {
	t.Helper()
	for s = strings.TrimLeft(s, " "); s != ""; s = strings.TrimLeft(s, " ") {
		if s[0] != '"' {
			word, rest, _ := strings.Cut(s, " ")
			if strings.ContainsAny(word, `"'\`) {
				t.Fatalf("%q would be unquoted", word)
			}
			out, s = append(out, word), rest
			continue
		}
		quoted, err := strconv.QuotedPrefix(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		word := strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(quoted[1 : len(quoted)-1])
		out, s = append(out, word), s[len(quoted):]
	}
	return out
}
