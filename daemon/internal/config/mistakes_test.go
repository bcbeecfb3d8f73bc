// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// head is a service that lacks nothing, in lines 1 to 3.
const head = "[service.x]\nkind = \"echo\"\nlisten = [\"127.0.0.1:7000\"]\n"

// of is head with another kind.
func of(k Kind) string { return strings.Replace(head, "echo", string(k), 1) }

// allKinds is the list in a message.
func allKinds() string {
	var quoted []string
	for _, k := range Kinds() {
		quoted = append(quoted, strconv.Quote(string(k)))
	}
	return strings.Join(quoted, ", ")
}

func TestMistakes(t *testing.T) {
	tests := []struct {
		name, text string
		want       []string
	}{
		{"none", head, nil},
		{"an empty file is what a power cut leaves", "", []string{"x.toml: " + emptied}},
		{"so are ends of lines", "\r\n \n", []string{"x.toml: " + emptied}},
		{"so are zero bytes", "\x00\x00\x00", []string{"x.toml:1: is not TOML: zero byte, as a power cut or UTF-16 leaves them"}},
		{"comments alone serve nobody", "# nothing\n", []string{"x.toml: no service is described"}},
		{"nor do limits", "[limits]\nconnections = 5\n", []string{"x.toml: no service is described"}},
		{"unknown key with a near miss", head + "que = 1\nidle_timout = \"5m\"\n", []string{
			`x.toml:4: service.x.que: unknown key, did you mean "queue"?`,
			`x.toml:5: service.x.idle_timout: unknown key, did you mean "idle_timeout"?`,
		}},
		{"names are case-sensitive", head + "Queue = 4096\n", []string{
			`x.toml:4: service.x.Queue: unknown key, did you mean "queue"?`,
		}},
		{"unknown section", "[limit]\nmemory = 1\n", []string{
			`x.toml:1: limit: unknown, want one of limits, log, loop, control, web, mqtt, service, did you mean "limits"?`,
		}},
		{"unknown section that only its tables name", "\n[servce.x]\nkind = 1\n", []string{
			`x.toml:2: servce: unknown, want one of limits, log, loop, control, web, mqtt, service, did you mean "service"?`,
		}},
		{"service without a header", "service.x.kind = \"echo\"\n", []string{
			`x.toml:1: service.x.listen: missing, want an array such as ["127.0.0.1:7000"]`,
		}},
		{"section that is no table", "limits = 3\nservice = []\n", []string{
			`x.toml:1: limits: is an integer, want a table`,
			`x.toml:2: service: is an array, want tables such as [service.NAME]`,
		}},
		{"array of tables", "[[service]]\nname = \"x\"\n", []string{
			`x.toml:1: service: is an array of tables, want tables such as [service.NAME]`,
		}},
		{"service that is no table", "[service]\nx = \"echo\"\n", []string{
			`x.toml:2: service.x: is a string, want a table`,
		}},
		{"everything at once, kind unknown", "[service.x]\nkind = \"ecco\"\nqueue = true\nlisten = []\nbacklog = 0\n", []string{
			`x.toml:2: service.x.kind: "ecco" is not one of ` + allKinds(),
			`x.toml:3: service.x.queue: is a boolean, want an integer or a string such as "64KiB"`,
			`x.toml:4: service.x.listen: has 0 addresses, want 1 to 64`,
			`x.toml:5: service.x.backlog: 0 is not in 1..65535`,
		}},
		{"missing keys are blamed on the header", "\n[service.x]\n[service.y]\nkind = \"handler\"\nlisten = [\"@y\"]", []string{
			`x.toml:2: service.x.kind: missing, want one of ` + allKinds(),
			`x.toml:2: service.x.listen: missing, want an array such as ["127.0.0.1:7000"]`,
			`x.toml:3: service.y.command: missing, want an array such as ["/usr/local/bin/program"]`,
		}},
		{"key of other kinds", head + "delimiter = \"x\"\npreset = \"\"\n", []string{
			`x.toml:4: service.x.delimiter: is a key of kind "lookup", "handler", "bridge", and this is of kind "echo"`,
			`x.toml:5: service.x.preset: is a key of kind "room", and this is of kind "echo"`,
		}},
		{"each bad address", "[service.x]\nkind = \"echo\"\nlisten = [\"x\", \"7000\", \"0\"]\n", []string{
			`x.toml:3: service.x.listen: "x": want PORT, IPv4:PORT, [IPv6]:PORT, /path or @name`,
			`x.toml:3: service.x.listen: "0": "0" is not a port, 1 to 65535`,
		}},
		{"a bad address hides no clash of the others", head + "[service.y]\nkind = \"echo\"\nlisten = [\"x\", \"127.0.0.1:7000\"]\n", []string{
			`x.toml:6: service.y.listen: "x": want PORT, IPv4:PORT, [IPv6]:PORT, /path or @name`,
			`x.toml:6: service.y.listen: 127.0.0.1:7000 is opened twice, here and by service.x`,
		}},
		{"a bad address may be that of a Unix socket", "[service.x]\nkind = \"echo\"\nlisten = [\"7000\", \"/run/x/\"]\nallow_uid = [0]\n", []string{
			`x.toml:3: service.x.listen: "/run/x/": is a directory`,
		}},
		{"a folder that is emptied", "[service.x]\nkind = \"echo\"\nlisten = [\"/run/penstock/x.sock\", \"/run//penstock/private/x.sock\"]\n", []string{
			`x.toml:3: service.x.listen: "/run/penstock/private/x.sock": what is in /run/penstock/private/ is removed while the socket listens`,
		}},
		{"bad names", "[service.X]\nkind=\"echo\"\nlisten=[\"7001\"]\n[service.config-error]\nkind=\"echo\"\nlisten=[\"7002\"]\n[service.\"a\\nb\"]\nkind=\"echo\"\nlisten=[\"7003\"]\n", []string{
			`x.toml:1: service.X: is not a name: want a lower-case letter, then up to 31 of a-z 0-9 _ -`,
			`x.toml:4: service.config-error: is a name that a unit of the package has`,
			`x.toml:7: service."a\nb": is not a name: want a lower-case letter, then up to 31 of a-z 0-9 _ -`,
		}},
		{"duplicate keys do not hide the rest", head + "queue = 4096\nqueue = 1\nqueue = 2\nmax_line = 0\n", []string{
			`x.toml:5: service.x.queue: given twice in one file, first in line 4`,
			`x.toml:5: service.x.queue: 1 is not in 256..1GiB`,
			`x.toml:6: service.x.queue: given twice in one file, first in line 4`,
			`x.toml:6: service.x.queue: 2 is not in 256..1GiB`,
			`x.toml:7: service.x.max_line: 0 is not in 1..65472`,
		}},
		{"a duplicate service hides nothing", head + "[service.x]\nqueue = -1\n[log]\nlevel = 1\n", []string{
			`x.toml:4: service.x: given twice in one file, first in line 1`,
			`x.toml:5: service.x.queue: -1 is not in 256..1GiB`,
			`x.toml:7: log.level: is an integer, want a string`,
		}},
		{"a duplicate over several lines does not end the reading", head + "allow = []\nallow = [\n]\nmax_line = 0\n", []string{
			`x.toml:5: service.x.allow: given twice in one file, first in line 4`,
			`x.toml:7: service.x.max_line: 0 is not in 1..65472`,
		}},
		{"duplicates before what cannot be read", of(KindLookup) + "answers = { a = \"1\", a = \"2\",\n" + "[log]\n", []string{
			`x.toml:4: service.x.answers.a: given twice in one file, first in line 4`,
			`x.toml:5: is not TOML: "[log]" where a key should be`,
		}},
		{"a table of several kinds of duplicates", of(KindLookup) + "default = \"\"\"\nqueue = 1\nqueue = 2\n\"\"\"\ndefault = '''\nx\n'''\n" +
			"answers = { a = \"1\", a = 2, \"b\".c = 3 }\nanswers.d = \"4\"\n[service.x.answers]\ne = \"5\"\n[service.x]\nque = 1\n[[service.x]]\n[service]\n[service]\n", []string{
			`x.toml:8: service.x.default: given twice in one file, first in line 4`,
			`x.toml:11: service.x.answers: "a" is an integer, want a string`,
			`x.toml:11: service.x.answers: "b" is a table, want a string`,
			`x.toml:11: service.x.answers.a: given twice in one file, first in line 11`,
			`x.toml:13: service.x.answers: given twice in one file, first in line 11`,
			`x.toml:15: service.x: given twice in one file, first in line 1`,
			`x.toml:16: service.x.que: unknown key, did you mean "queue"?`,
			`x.toml:17: service.x: given twice in one file, first in line 1`,
			`x.toml:19: service: given twice in one file, first in line 18`,
			`x.toml:12: service.x.answers: warning: is complete since line 11; it is added to all the same`,
		}},
		{"words without quotes do not end the reading", "[service.x]\nkind = echo\nlisten = [7000, 127.0.0.1:7001, \"nowhere\", @x]\nqueue = 64KiB # more\nmax_line = 0\n", []string{
			`x.toml:2: service.x.kind: is not TOML: "echo" is no value; a text stands in quotes`,
			`x.toml:3: service.x.listen: is not TOML: "127.0.0.1:7001" is no value; a text stands in quotes`,
			`x.toml:3: service.x.listen: is not TOML: "@x" is no value; a text stands in quotes`,
			`x.toml:3: service.x.listen: item 1 is an integer, want a string`,
			`x.toml:4: service.x.queue: is not TOML: "64KiB" is no value; a text stands in quotes`,
			`x.toml:5: service.x.max_line: 0 is not in 1..65472`,
		}},
		{"no escape", head + "payload = \"\\q\"\n", []string{
			`x.toml:4: is not TOML: "\\q" is no escape of TOML; a backslash is \\`,
		}},
		{"braces over several lines", of(KindLookup) + "answers = {\na = \"1\",\n}\n", nil},
		{"a key that is empty, and keys that a terminal should not get", head + "\"\" = 1\n\"\\u009b2J\" = 1\n\"\u202egnp\" = 1\n", []string{
			`x.toml:4: service.x."": unknown key`,
			`x.toml:5: service.x."\u009B2J": unknown key`,
			`x.toml:6: service.x."\u202Egnp": unknown key`,
		}},
		{"other programs' addresses", "[service.x]\nkind = \"echo\"\nlisten = [\":7000\", \"*:7000\", \"tcp://10.0.0.1:7000\", \"localhost:80\", \"unix:/run/x.sock\", \"x:1\"]\n", []string{
			`x.toml:3: service.x.listen: ":7000": "" is not an address (names are not looked up), did you mean "7000"?`,
			`x.toml:3: service.x.listen: "*:7000": "*" is not an address (names are not looked up), did you mean "7000"?`,
			`x.toml:3: service.x.listen: "tcp://10.0.0.1:7000": "tcp" is not an address (names are not looked up), did you mean "10.0.0.1:7000"?`,
			`x.toml:3: service.x.listen: "localhost:80": "localhost" is not an address (names are not looked up), did you mean "127.0.0.1:80"?`,
			`x.toml:3: service.x.listen: "unix:/run/x.sock": "unix" is not an address (names are not looked up), did you mean "/run/x.sock"?`,
			`x.toml:3: service.x.listen: "x:1": "x" is not an address (names are not looked up)`,
		}},
		{"deeper than any key needs", head + strings.Repeat("a.", 13) + "a = 1\n[" + strings.Repeat("a.", 16) + "a]\n", []string{
			`x.toml:5: is not TOML: nested deeper than 16`,
		}},
		{"brackets deeper than any value needs", head + "allow = " + strings.Repeat("[", 14) + "\n", []string{
			`x.toml:4: is not TOML: nested deeper than 16`,
		}},
		{"syntax error", head + "queue = \n", []string{
			`x.toml:4: is not TOML: end of line where a value should be`,
		}},
		{"duration without a unit", head + "idle_timeout = 5\nstall_timeout = \"5\"\ndrain_timeout = \"2h\"", []string{
			`x.toml:4: service.x.idle_timeout: is an integer, want a string with a unit such as "5s"`,
			`x.toml:5: service.x.stall_timeout: "5" is not a duration such as "90s", "5m" or "1h30m"`,
			`x.toml:6: service.x.drain_timeout: 2h is not in 10ms..1h0m0s`,
		}},
		{"unit of a size", head + "queue = \"64KB\"\nmax_line = \"2MiB\"", []string{
			`x.toml:4: service.x.queue: "64KB" is not a size such as "512", "64KiB", "16MiB" or "1GiB"`,
			`x.toml:5: service.x.max_line: 2MiB is not in 1..65472`,
		}},
		{"mode as a number", head + "socket_mode = 660\n", []string{
			`x.toml:4: service.x.socket_mode: is an integer, want a string such as "0660"`,
		}},
		{"a source that may have more of one service than of all", head + "per_source = 65\n", []string{
			`x.toml:4: service.x.per_source: warning: 65 of this service is more than limits.per_source, 64 of all together, which holds`,
		}},
		{"keys of Unix sockets on TCP only", head + "allow_uid = [0]\nsocket_mode = \"0600\"\nsocket_user = \"root\"\nsocket_group = \"root\"\n", []string{
			`x.toml:4: service.x.allow_uid: has no effect: no address in listen is a Unix socket`,
			`x.toml:5: service.x.socket_mode: warning: has no effect: no address in listen is a Unix socket`,
			`x.toml:6: service.x.socket_user: warning: has no effect: no address in listen is a Unix socket`,
			`x.toml:7: service.x.socket_group: warning: has no effect: no address in listen is a Unix socket`,
		}},
		{
			"keys of TCP on Unix sockets only", "[service.x]\nkind = \"echo\"\nlisten = [\"/run/x\", \"@x\"]\n" +
				"allow = [\"local-subnets\"]\ndeny = [\"10.0.0.0/8\"]\nip_allow = [\"any\"]\nip_deny = [\"any\"]\nbind_device = \"eth0\"\n", []string{
				`x.toml:4: service.x.allow: warning: has no effect: every address in listen is a Unix socket`,
				`x.toml:5: service.x.deny: warning: has no effect: every address in listen is a Unix socket`,
				`x.toml:6: service.x.ip_allow: warning: has no effect: every address in listen is a Unix socket`,
				`x.toml:7: service.x.ip_deny: warning: has no effect: every address in listen is a Unix socket`,
				`x.toml:8: service.x.bind_device: warning: has no effect: every address in listen is a Unix socket`,
			},
		},
		{"users named, and a way around them", "[service.x]\nkind = \"echo\"\nlisten = [\"/run/x\", \"7000\"]\nallow_uid = [0]\n", []string{
			`x.toml:4: service.x.allow_uid: warning: does not hold for the TCP addresses in listen, where everybody may connect; ` +
				`say in allow or deny who may (everybody: ["0.0.0.0/0", "::/0"])`,
		}},
		{"both families, each with its own rule", "[service.x]\nkind = \"echo\"\nlisten = [\"/run/x\", \"7000\"]\nallow_uid = [0]\nallow = [\"::1\"]\nsocket_mode = \"0666\"\nbind_device = \"eth0\"\n", nil},
		{"units of systemd cannot be injected", head + "socket_user = \"a\\nExecStart=b\"\nbind_device = \"a b\"\nip_allow = [\"1.2.3.4\\nx\"]\n", []string{
			`x.toml:4: service.x.socket_user: "a\nExecStart=b" is not the name of a user or group`,
			`x.toml:5: service.x.bind_device: "a b" is not the name of a network interface`,
			`x.toml:6: service.x.ip_allow: "1.2.3.4\nx" is not an address or network such as 192.0.2.0/24, or any, localhost, link-local, multicast`,
		}},
		{"devices that systemd would take for any", head + "bind_device = \"*\"\n[service.y]\nkind = \"echo\"\nlisten = [\"7\"]\nbind_device = \"12\"\n", []string{
			`x.toml:4: service.x.bind_device: "*" is not the name of a network interface`,
			`x.toml:8: service.y.bind_device: "12" is not the name of a network interface`,
		}},
		{"program that no unit can name", "[service.x]\nkind = \"handler\"\nlisten = [\"7\"]\ncommand = [\"/bin/a\\nb\"]\n", []string{
			`x.toml:4: service.x.command: "/bin/a\nb" holds a control character`,
		}},
		{"allow_uid nobody would check", head + "allow_uid = [0]\n", []string{
			`x.toml:4: service.x.allow_uid: has no effect: no address in listen is a Unix socket`,
		}},
		{"unknown user", head + "allow_uid = [\"no such user\", 1]\n", []string{
			`x.toml:4: service.x.allow_uid: there is no user "no such user" in /etc/passwd`,
		}},
		{"each bad item of a list", "[service.x]\nkind = \"lookup\"\nlisten = [1, \"7000\", 2]\ndeny = [\"x\", \"10.0.0.0/8\", \"y\"]\nip_deny = [\"x\", \"any\", \"y\"]\nallow_uid = [-1, 0, \"\"]\nanswers = { a = 1, b = \"2\", c = 3 }\n", []string{
			`x.toml:3: service.x.listen: item 1 is an integer, want a string`,
			`x.toml:3: service.x.listen: item 3 is an integer, want a string`,
			`x.toml:4: service.x.deny: "x" is not an address or network such as 192.0.2.0/24, or "local-subnets"`,
			`x.toml:4: service.x.deny: "y" is not an address or network such as 192.0.2.0/24, or "local-subnets"`,
			`x.toml:5: service.x.ip_deny: "x" is not an address or network such as 192.0.2.0/24, or any, localhost, link-local, multicast`,
			`x.toml:5: service.x.ip_deny: "y" is not an address or network such as 192.0.2.0/24, or any, localhost, link-local, multicast`,
			`x.toml:6: service.x.allow_uid: -1 is not a user id`,
			`x.toml:6: service.x.allow_uid: there is no user "" in /etc/passwd`,
			`x.toml:7: service.x.answers: "a" is an integer, want a string`,
			`x.toml:7: service.x.answers: "c" is an integer, want a string`,
		}},
		{"no name", "[service.\"\"]\nqueue = 1\n", []string{
			`x.toml:1: service."": is not a name: want a lower-case letter, then up to 31 of a-z 0-9 _ -`,
		}},
		{"queue above the memory for all", head + "queue = \"1MiB\"\n[limits]\nmemory = \"512KiB\"\n", []string{
			`x.toml:4: service.x.queue: 1MiB for one client is more than limits.memory, 512KiB for all`,
		}},
		{"text that fits no queue", of(KindTicker) + "queue = 256\npayload = \"" + strings.Repeat("x", 257) + "\"\n", []string{
			`x.toml:5: service.x.payload: has 257 bytes, more than queue (256) takes`,
		}},
		{"no interval", of(KindTicker) + "interval = \"0s\"\npayload = \"\"\n", []string{
			`x.toml:4: service.x.interval: 0s is not in 10ms..8760h0m0s`,
			`x.toml:5: service.x.payload: is empty`,
		}},
		{"surroundings of a program", of(KindHandler) + "command = [\"/bin/cat\"]\nenv = { \"a=b\" = \"c\", d = 5 }\ndirectory = \"tmp\"\n", []string{
			`x.toml:5: service.x.env: "a=b" is not the name of a variable`,
			`x.toml:5: service.x.env: "d" is an integer, want a string`,
			`x.toml:6: service.x.directory: is not an absolute path`,
		}},
		{"command is a path", of(KindHandler) + "command = [\"cat\"]\n", []string{
			`x.toml:4: service.x.command: "cat" is not an absolute path`,
		}},
		{"placeholders", of(KindRoom) + "welcome = \"{nick}\"\nmessage = \"{}{line} { name }\"\njoin = \"a\\nb\"\n", []string{
			`x.toml:4: service.x.welcome: {nick} is not one of {name} {peer} {line} {count}`,
			`x.toml:6: service.x.join: holds a control character; a template is one line and its newline is added`,
		}},
		{"questions nobody can ask", of(KindLookup) + "delimiter = \"?\"\nanswers = { \"a?\" = \"1\", a = \"2\", \"b?c\" = \"3\", \" ?\" = \"4\" }\n", []string{
			`x.toml:5: service.x.answers: question "a" is there already, in another spelling: clients ask both as "a"`,
			`x.toml:5: service.x.answers: question "b?c" cannot be asked: it holds the delimiter "?"`,
			`x.toml:5: service.x.answers: question " ?" is empty`,
		}},
		{"answers that are no strings", of(KindLookup) + "answers = { a = 1 }\ndelimiter = \"\"\n", []string{
			`x.toml:4: service.x.answers: "a" is an integer, want a string`,
			`x.toml:5: service.x.delimiter: is empty`,
		}},
		{"same address twice", head + "[service.y]\nkind = \"echo\"\nlisten = [\"7000\", \"@y\", \"@y\"]\n", []string{
			`x.toml:6: service.y.listen: [::]:7000 cannot be opened beside 127.0.0.1:7000 of service.x, one covers the other`,
			`x.toml:6: service.y.listen: @y is opened twice, here and by this service`,
		}},
		{"a proxy to itself", "[service.x]\nkind=\"proxy\"\nlisten=[\"7000\"]\nto=[\"10.0.0.5:7000\", \"127.0.0.1:7000\", \"[::1]:7000\"]\n", []string{
			`x.toml:4: service.x.to: 127.0.0.1:7000 is this service itself, see listen`,
			`x.toml:4: service.x.to: [::1]:7000 is this service itself, see listen`,
		}},
		{"a proxy to nowhere", "[service.x]\nkind=\"proxy\"\nlisten=[\"7000\"]\nto=[\"192.0.2.7\", \"256.1.1.1:80\", \"fe80::1:80\", \"app.lan:http\", \"tcp://192.0.2.7:80\", \"[fe80::1]:80\", \"80\", \"[fe80::1]:80%eth0\"]\n", []string{
			`x.toml:4: service.x.to: "192.0.2.7": want IPv4:PORT, [IPv6]:PORT, HOST:PORT, /path or @name`,
			`x.toml:4: service.x.to: "256.1.1.1:80": what stands before the port is neither an address nor the name of a host`,
			`x.toml:4: service.x.to: "fe80::1:80": IPv6 goes in brackets, as in "[fe80::1]:80%eth0"`,
			`x.toml:4: service.x.to: "app.lan:http": "http" is not a port, 1 to 65535`,
			`x.toml:4: service.x.to: "tcp://192.0.2.7:80": what stands before the port is neither an address nor the name of a host, did you mean "192.0.2.7:80"?`,
			`x.toml:4: service.x.to: "[fe80::1]:80": an address of fe80::/10 needs the interface, as in "[fe80::1]:80%eth0"`,
			`x.toml:4: service.x.to: "80" is every address of this machine, did you mean "127.0.0.1:80"?`,
		}},
		{"a proxy to half an address", "[service.x]\nkind=\"proxy\"\nlisten=[\"7000\"]\nto=[\":80\", \"tcp://0.0.0.0:80\", \"fe80::1%eth0:80\", \"[fe80::1%eth0]:80\", \"fe80::1%eth0\", \"::1\", \"::1:ffff\", \"::1:http\", \"a:b:c\"]\n", []string{
			`x.toml:4: service.x.to: ":80": what stands before the port is neither an address nor the name of a host, did you mean "127.0.0.1:80"?`,
			`x.toml:4: service.x.to: "tcp://0.0.0.0:80": what stands before the port is neither an address nor the name of a host, did you mean "127.0.0.1:80"?`,
			`x.toml:4: service.x.to: "fe80::1%eth0:80": IPv6 goes in brackets, as in "[fe80::1]:80%eth0"`,
			`x.toml:4: service.x.to: "[fe80::1%eth0]:80": write the interface after the port, [fe80::1]:7000%eth0, as systemd does`,
			`x.toml:4: service.x.to: "fe80::1%eth0": has no port, as in "[fe80::1]:80%eth0"`,
			`x.toml:4: service.x.to: "::1": has no port, as in "[::1]:80"`,
			`x.toml:4: service.x.to: "::1:ffff": has no port, as in "[::1:ffff]:80"`,
			`x.toml:4: service.x.to: "::1:http": IPv6 goes in brackets, as in "[::1]:80"`,
			`x.toml:4: service.x.to: "a:b:c": what stands before the port is neither an address nor the name of a host`,
		}},
		{"a proxy to itself by name", "[service.x]\nkind=\"proxy\"\nlisten=[\"127.0.0.1:7000\"]\nto=[\"LocalHost.:7000\", \"localhost:7001\", \"example.org:7000\"]\n", []string{
			`x.toml:4: service.x.to: LocalHost.:7000 is this service itself, see listen`,
			`x.toml:4: service.x.to: warning: "LocalHost.:7000" is a name, so the sandbox lets the service reach every address (IPAddressAllow=any)`,
			`x.toml:4: service.x.to: warning: "localhost:7001" is a name, so the sandbox lets the service reach every address (IPAddressAllow=any)`,
			`x.toml:4: service.x.to: warning: "example.org:7000" is a name, so the sandbox lets the service reach every address (IPAddressAllow=any)`,
		}},
		{"a proxy to another address of its host", "[service.x]\nkind=\"proxy\"\nlisten=[\"10.0.0.5:7000\", \"/run/x\"]\nto=[\"localhost:7000\"]\n", []string{
			`x.toml:4: service.x.to: warning: "localhost:7000" is a name, so the sandbox lets the service reach every address (IPAddressAllow=any)`,
		}},
		{"a program that cannot go on at a restart", of(KindExec) + "persist=\"restart\"\nio=\"pipe\"\nmax_children=0\n", []string{
			`x.toml:1: service.x.command: missing, want an array such as ["/usr/local/bin/program"]`,
			`x.toml:4: service.x.persist: a program ends with the daemon, and its client with it; want "off"`,
			`x.toml:5: service.x.io: "pipe" is not one of "pipes", "socket"`,
			`x.toml:6: service.x.max_children: 0 is not in 1..4096`,
		}},
		{"same address on two devices", "[service.x]\nkind=\"echo\"\nlisten=[\"7000\"]\nbind_device=\"a\"\n[service.y]\nkind=\"echo\"\nlisten=[\"7000\"]\nbind_device=\"b\"\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, mistakes(t, tt.text)); diff != "" {
				t.Errorf("Parse(%q), -want +got:\n%s", tt.text, diff)
			}
		})
	}
}

// The text given to Parse belongs to the caller, also when a key given twice
// is blanked out on the way.
func TestParseLeavesText(t *testing.T) {
	text := []byte("a = 1\na = 2\n")
	if _, err := Parse("x.toml", text); err == nil || string(text) != "a = 1\na = 2\n" {
		t.Errorf("Parse = %v, and the text is %q", err, text)
	}
}

// The matrix as the manual page shows it: D is the default, - is refused.
func TestOverflowMatrix(t *testing.T) {
	columns := []Overflow{Pause, DropOldest, DropNewest, Disconnect}
	want := map[Kind]string{
		KindLookup: "D--+", KindEcho: "D--+", KindDiscard: "D--+", KindDaytime: "D--+",
		KindTime: "D--+", KindChargen: "D--+", KindQOTD: "D--+",
		KindTicker: "-D++", KindRoom: "-++D", KindHandler: "-++D",
		KindTail: "-D++", KindBridge: "-D++", KindProxy: "D--+",
		KindExec: "D--+",
	}
	for _, kind := range Kinds() {
		row := ""
		for _, o := range columns {
			switch err := checkOverflow(kind, o); {
			case err != nil && newService("x", kind, Limits{}).Overflow == o:
				row += "!"
			case err != nil:
				row += "-"
			case newService("x", kind, Limits{}).Overflow == o:
				row += "D"
			default:
				row += "+"
			}
		}
		if row != want[kind] {
			t.Errorf("%s: %s, want %s (pause, drop-oldest, drop-newest, disconnect)", kind, row, want[kind])
		}
	}
	got := mistakes(t, of(KindRoom)+"overflow = \"pause\"\n")
	reason := `x.toml:4: service.x.overflow: "pause" is not for kind "room": not reading from a client makes no room in its queue, for others fill it; want "drop-oldest", "drop-newest", "disconnect"`
	if diff := cmp.Diff([]string{reason}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestMistakeEscapes(t *testing.T) {
	m := Mistake{File: "a\nb", Line: 3, Key: "k", Problem: "p\x1b[2J"}
	if got, want := m.String(), `a\x0ab:3: k: p\x1b[2J`; got != want {
		t.Errorf("String() = %q, want %q: one line, and safe on a terminal", got, want)
	}
}
