// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"penstock/daemon/internal/text"
)

// What is accepted prints as something that is accepted with the same
// meaning, and fits on one line of a unit file.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"7000", "127.0.0.1:7000", "[fe80::1]:7000%eth0", "/run/x.sock", "@x", "[::ffff:1.2.3.4]:5", "//a/../b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.Text)
		if err != nil || again != a {
			t.Errorf("%q is %+v, but its text parses to %+v, %v", s, a, again, err)
		}
		if strings.ContainsAny(a.Text, "\n\r\x00") || strings.TrimSpace(a.Text) != a.Text {
			t.Errorf("%q has the text %q, which a unit file cannot hold", s, a.Text)
		}
	})
}

// Whatever Parse accepts can be written as TOML and parses to the same; what
// it refuses comes with mistakes of one line each; and both are the same the
// second time.
func FuzzParse(f *testing.F) {
	reference, err := os.ReadFile(referenceFile)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(reference)
	f.Add([]byte(BuiltinText))
	f.Add([]byte(head + "queue = 4096\nqueue = 1\n[service.x]\n[[service]]\n"))
	f.Add([]byte("service.x.kind = \"room\"\nservice.x.listen = [\"@\\u0001\"]\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		if namesFile(src) {
			return // of this machine: what is in it is not the fuzzer's input
		}
		c, err := Parse("x.toml", src)
		_, errAgain := Parse("x.toml", src)
		if fmt.Sprint(err) != fmt.Sprint(errAgain) {
			t.Errorf("first %v, then %v", err, errAgain)
		}
		if err != nil {
			for _, m := range err.(Errors) {
				if m.Problem == "" || strings.ContainsFunc(m.String(), text.IsControl) {
					t.Errorf("mistake %+v is not one line of text", m)
				}
			}
		}
		if len(c.Services) == 0 {
			return // that would be a mistake
		}
		written := render(t, c)
		again, err := Parse("x.toml", written)
		if err != nil {
			t.Fatalf("%v\nin what was written:\n%s", err, written)
		}
		if diff := cmp.Diff(c, again, cmpopts.EquateEmpty(), cmpopts.EquateComparable(Address{}, netip.Prefix{})); diff != "" {
			t.Errorf("-parsed +written and parsed:\n%s", diff)
		}
	})
}

// namesFile reports whether reading text may open a file. A text with a key
// given twice is read on after that, so there the word is enough.
func namesFile(text []byte) bool {
	var tree struct{ Service map[string]struct{ File any } }
	if toml.Unmarshal(text, &tree) != nil {
		return bytes.Contains(text, []byte("file")) || bytes.Contains(text, []byte(`\`))
	}
	for _, s := range tree.Service {
		if s.File != nil && s.File != "" {
			return true
		}
	}
	return false
}

// render writes c as TOML.
func render(t *testing.T, c *Config) []byte {
	t.Helper()
	services := map[string]any{}
	for _, s := range c.Services {
		services[s.Name] = tableOf(s)
	}
	var b bytes.Buffer
	err := toml.NewEncoder(&b).Encode(map[string]any{
		"limits":  map[string]any{"connections": c.Limits.Connections, "per_source": c.Limits.PerSource, "memory": c.Limits.Memory},
		"log":     map[string]any{"level": strings.ToLower(c.Log.Level.String()), "peers": string(c.Log.Peers)},
		"loop":    map[string]any{"backend": string(c.Loop.Backend)},
		"service": services,
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tableOf(s *Service) map[string]any {
	listen := []string{}
	for _, a := range s.Listen {
		listen = append(listen, a.Text)
	}
	m := map[string]any{
		"kind": string(s.Kind), "listen": listen,
		"allow": sourceList(s.Allow), "deny": sourceList(s.Deny), "allow_uid": append([]uint32{}, s.AllowUID...),
		"max_connections": s.MaxConnections, "per_source": s.PerSource,
		"idle_timeout": s.IdleTimeout.String(), "stall_timeout": s.StallTimeout.String(), "drain_timeout": s.DrainTimeout.String(), "persist": string(s.Persist),
		"max_line": formatSize(int64(s.MaxLine)), "queue": formatSize(int64(s.Queue)), "overflow": string(s.Overflow),
		"backlog": s.Backlog, "socket_mode": fmt.Sprintf("%04o", s.SocketMode),
		"socket_user": s.SocketUser, "socket_group": s.SocketGroup, "bind_device": s.BindDevice,
		"ip_allow": append([]string{}, s.IPAllow...), "ip_deny": append([]string{}, s.IPDeny...),
	}
	if s.Start != "" {
		m["start"] = string(s.Start)
	}
	if s.AtEOF != "" {
		m["at_eof"] = string(s.AtEOF)
	}
	switch k := s.Of.(type) {
	case *Lookup:
		m["delimiter"], m["answers"], m["default"], m["fold_case"] = k.Delimiter, texted(k.Answers), k.Default, k.FoldCase
	case *Ticker:
		m["payload"], m["interval"], m["log_input"] = k.Payload, k.Interval.String(), k.LogInput
	case *Handler:
		m["command"], m["delimiter"], m["events"], m["error"] = k.Command, k.Delimiter, k.Events, k.Error
		m["env"], m["directory"] = variables(k.Env), k.Directory
	case *Bridge:
		m["device"], m["command"] = k.Device, append([]string{}, k.Command...)
		m["speed"], m["mode"], m["flow"], m["dtr"], m["rts"], m["hangup"] = k.Speed, k.Mode, k.Flow, k.DTR, k.RTS, k.HangUp
		m["rs485"], m["low_latency"], m["exclusive"] = k.RS485, k.LowLatency, k.Exclusive
		m["delimiter"], m["gap"], m["history"], m["write"] = k.Delimiter, k.Gap.String(), k.History, string(k.Write)
		m["reply_timeout"], m["reply_gap"] = k.ReplyTimeout.String(), k.ReplyGap.String()
		m["absent"], m["banner"] = string(k.Absent), k.Banner
		m["on_loss"], m["notice"] = string(k.OnLoss), k.Notice
		m["env"], m["directory"] = variables(k.Env), k.Directory
	case *Proxy:
		to := []string{}
		for _, a := range k.To {
			to = append(to, a.Text)
		}
		m["to"], m["send_proxy"], m["connect_timeout"], m["wait"] = to, string(k.SendProxy), k.ConnectTimeout.String(), k.Wait.String()
	case *Exec:
		m["command"], m["io"], m["max_children"], m["directory"] = k.Command, string(k.IO), k.MaxChildren, k.Directory
		m["env"] = variables(k.Env)
	case *Room:
		m["preset"], m["welcome"], m["message"] = string(k.Preset), k.Welcome, k.Message
		m["join"], m["leave"] = k.Join, k.Leave
		m["history"], m["echo_to_sender"] = k.History, k.EchoToSender
	}
	return m
}

// variables is a list of NAME=value as a table.
func variables(list []string) map[string]string {
	env := map[string]string{}
	for _, v := range list {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	return env
}

func sourceList(s Sources) []string {
	out := []string{}
	for _, p := range s.Prefixes {
		out = append(out, p.String())
	}
	if s.LocalSubnets {
		out = append(out, localSubnets)
	}
	return out
}
