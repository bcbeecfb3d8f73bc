// SPDX-License-Identifier: Apache-2.0

package unit

import "strings"

// Which files the service will find can be seen only inside its sandbox: some folders
// are hidden from it, and drop-ins of the administrator hide or open more. A process
// of the same user outside sees other files, and code of our own for each setting
// would be a second systemd. So a unit is made from the lines of the service, and the
// manager builds the same sandbox for a check.

// CheckText returns a unit that runs a command in the sandbox of a service and
// leaves what it prints in the file output. service is what `systemctl cat`
// says: the unit and its drop-ins, one behind the other.
func CheckText(service, output string, command ...string) (string, error) {
	var t text
	t.section("Unit")
	t.set("Description", "Check of the configuration of penstock as "+Service+" sees it")
	t.set("CollectMode", "inactive-or-failed")
	t.section("Service")
	t.b.WriteString(sectionService(service))
	for _, key := range processKeys {
		t.set(key)
	}
	t.set("Type", "oneshot")
	t.set("Restart", "no")
	t.set("RemainAfterExit", "no")
	t.set("WatchdogSec", "0")
	t.set("TimeoutStartSec", "25s")
	t.set("StandardInput", "null")
	t.set("StandardOutput", "truncate:"+output)
	t.set("StandardError", "inherit")
	for i := range command {
		command[i] = argument(command[i])
	}
	t.set("ExecStart", command...)
	return t.b.String(), t.err
}

// processKeys are the keys of the service that are about its process and not
// about what it sees. An empty value takes back all values that were given.
// RuntimeDirectory= is one of them, since the manager removes that folder at the
// end of the unit. So are the lists of what may be executed, which name it.
var processKeys = []string{
	"ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost",
	"SuccessExitStatus", "RestartPreventExitStatus", "RestartForceExitStatus", "PIDFile", "Sockets",
	"RuntimeDirectory", "ExecPaths", "NoExecPaths",
}

// sectionService returns the lines of all sections [Service]. A line that ends
// in a backslash goes on in the next, whatever that looks like.
func sectionService(units string) string {
	var b strings.Builder
	within, continued := false, false
	for line := range strings.Lines(units) {
		line = strings.TrimSuffix(line, "\n") + "\n" // also the last one of a file
		trimmed := strings.TrimSpace(line)
		if !continued && strings.HasPrefix(trimmed, "[") {
			within = trimmed == "[Service]"
		} else if within {
			b.WriteString(line)
		}
		comment := strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";")
		continued = continued && comment || !comment && strings.HasSuffix(trimmed, `\`)
	}
	return b.String()
}
