// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"strings"

	"penstock/daemon/internal/config"
)

// said is a bridge to a program that says back what it hears, behind a word.
func said(word string) string {
	return fmt.Sprintf("write = 'any'\ncommand = ['/bin/sh', '-c', 'while IFS= read -r m; do echo \"%s $m\"; done']\n", word)
}

// room says nothing of its own accord but a welcome, unless another line does.
func room(welcome, message string) string {
	return fmt.Sprintf("welcome = '%s'\nmessage = '%s'\n", welcome, message)
}

// A sample is a service of some kind with some values of its keys, and what a
// client hears of it that says say.
type sample struct {
	keys   string
	say    string
	hears  string // begins with, if the service goes on; otherwise all of it
	goesOn bool
}

// parrot is a program that says back what it hears, behind a word of ours.
const parrot = `command = ["/bin/sh", "-c", '''
while IFS= read -r m; do
	conn=${m#*'"conn":'}; conn=${conn%%,*}
	case $m in
	*'"data":"'*) data=${m#*'"data":"'}; printf '{"conn":%s,"data":"WORD %s"}\n' "$conn" "${data%'"}'}" ;;
	*'"event":"open"'*) printf '{"conn":%s,"data":"welcome, "}\n' "$conn" ;;
	esac
done
''']
`

// samples has each kind, and for each key of a kind's own two values of it.
// What is between the first and another one is what that key changes.
var samples = map[config.Kind][]sample{
	config.KindEcho:    {{"", "x", "x", false}},
	config.KindDiscard: {{"", "x", "", false}},
	config.KindDaytime: {{"", "", "DD MMM YYYY HH:MM:SS UTC\r\n", false}},
	config.KindTime:    {{"", "", "TIME", false}},
	config.KindChargen: {{"", "", ` !"#$%&'()*+,-./0123456789`, true}},
	config.KindQOTD: {
		{"file = 'quotes'", "", "one\n", false},
		{"file = 'others'", "", "two\n", false},
	},
	config.KindTicker: {
		{"interval = '10ms'", "", "ping\n", true},
		{"interval = '11ms'\npayload = \"pong\\n\"", "", "pong\n", true},
		{"interval = '1h'\nlog_input = true", "PING\n", "+PONG\r\n", true},
	},
	config.KindLookup: {
		{"answers = {a = '1'}", "a\n", "1", false},
		{"answers = {a = '2'}", "a\n", "2", false},
		{"answers = {a = '3'}\ndelimiter = '?'", "a?", "3", false},
		{"answers = {a = '4'}\nfold_case = true", "A\n", "4", false},
		{"answers = {a = '5'}\ndefault = '6'", "b\n", "6", false},
		{"answers = {a = '77'}\nat_eof = 'drop'", "a\na", "77", false},
		{"file = 'answers.toml'", "a\n", "8", false},
	},
	config.KindHandler: {
		{strings.Replace(parrot, "WORD", "A", 1), "x\n", "A x", false},
		{strings.Replace(parrot, "WORD", "B", 1), "x\n", "B x", false},
		{parrot + "delimiter = ';'", "x;", "WORD x", false},
		{parrot + "events = true", "x\n", "welcome, WORD x", true},
		{parrot + "error = 'C'", "y\n", "WORD y", false},
		{parrot + "at_eof = 'drop'", "y\nz", "WORD y", false},
		{strings.Replace(parrot, "WORD", `'"$D"'`, 1) + "env = {D = 'E'}", "x\n", "E x", false},
		{parrot + "directory = '/'", "x\n", "WORD x", false},
	},
	config.KindExec: {
		{"command = ['/bin/echo', 'A']", "", "A\n", false},
		{"command = ['/bin/echo', 'B']\nio = 'socket'\nmax_children = 31", "", "B\n", false},
		{"command = ['/bin/sh', '-c', 'echo $D']\nenv = {D = 'E'}", "", "E\n", false},
		{"command = ['/bin/pwd']\ndirectory = '/'", "", "/\n", false},
	},
	config.KindTail: {
		{"file = 'quotes'\nhistory = 1", "", "one\n", true},
		{"file = 'others'\nhistory = 1", "", "two\n", true},
		{"file = 'lines'\nhistory = 2", "", "2\n3\n", true},
	},
	config.KindBridge: {
		{said("A"), "x\n", "A x\n", true},
		{said("B"), "x\n", "B x\n", true},
		{said("C") + "delimiter = \"y\\n\"", "xy\n", "C xy\n", true},
		{said("D") + "history = 2", "x\n", "D x\n", true},
		{said("E") + "delimiter = ''\ngap = '10ms'\non_loss = 'close'\nnotice = 'N'", "x\n", "E x\n", true},
		{strings.Replace(said("F"), "any", "transaction", 1) + "reply_timeout = '1m'\nreply_gap = '10ms'\nabsent = 'queue'\nspeed = 1200\nmode = '7E1'\nflow = 'rtscts'\ndtr = 'on'\nrts = 'off'\nhangup = true\n" +
			"rs485 = 'rts-on-send'\nrs485_before = '1ms'\nrs485_after = '2ms'\nlow_latency = true\nexclusive = false\nat_eof = 'drop'", "x\n", "F x\n", true},
		{strings.Replace(said("$W"), "write", "env = {W = 'G'}\ndirectory = '/'\nwrite", 1), "x\n", "G x\n", true},
		{"device = '/dev/null'\nbanner = 'B'\ntelnet = 'rfc2217'", "", "", true},
	},
	config.KindProxy: { // whose backends are those of sampleFiles
		{"to = ['" + backendAt("A") + "']", "x", "A x", false},
		{"to = ['" + backendAt("B") + "']", "x", "B x", false},
		{"to = ['" + backendAt("A") + "']\nsend_proxy = 'v1'", "x", "A PROXY UNKNOWN\r\nx", false},
		{"to = ['" + backendAt("A") + "']\nconnect_timeout = '1s'", "x", "A x", false},
		{"to = ['" + backendAt("A") + "']\nwait = '1s'", "x", "A x", false},
	},
	config.KindRoom: {
		{room("A", "{line}"), "x\n", "A\nx\n", true},
		{room("B", "{line}"), "x\n", "B\nx\n", true},
		{room("A", "{line}!"), "x\n", "A\nx!\n", true},
		{room("C", "{line}") + "join = 'J'", "", "C\n", true},
		{room("D", "{line}") + "leave = 'L'", "", "D\n", true},
		{room("E", "{line}") + "history = 2", "x\n", "E\n", true},
		{room("F", "{line}") + "echo_to_sender = false", "x\n", "F\n", true},
		{room("G", "{line}") + "preset = 'twisted'", "x\r\n", "G\nx\n", true},
	},
}
