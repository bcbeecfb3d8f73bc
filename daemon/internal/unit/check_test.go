// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"strings"
	"testing"
)

func TestCheckTextKeepsTheSandboxAlone(t *testing.T) {
	const service = `# /usr/lib/systemd/system/penstock.service
[Unit]
Description=x
OnFailure=page-me.service

[Service]
ExecStart=/usr/bin/penstock run
User=penstock
Environment=A=b \
# a comment does not end the line
[Unit]
ProtectHome=yes
RuntimeDirectory=penstock/private

[Install]
WantedBy=multi-user.target
# /etc/systemd/system/penstock.service.d/own.conf
[Service]
ProtectHome=read-only`
	text, err := CheckText(service, "/run/out", "/usr/bin/penstock", "check", "-c", "/a b$")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"OnFailure=page-me.service", "WantedBy=multi-user.target", "Description=x"} {
		if strings.Contains(text, line) {
			t.Errorf("has %s, which is not of the sandbox", line)
		}
	}
	var last int
	for _, part := range []string{
		"User=penstock\n", "Environment=A=b \\\n# a comment does not end the line\n[Unit]\n", "ProtectHome=yes\n", "ProtectHome=read-only\n",
		"\nExecStart=\n", "\nRuntimeDirectory=\n", "\nNoExecPaths=\n", "\nRestart=no\n",
		"\nExecStart=/usr/bin/penstock check -c \"/a b$$\"\n",
	} {
		i := strings.Index(text[last:], part)
		if i < 0 {
			t.Fatalf("%q is not in the unit behind the one before it:\n%s", part, text)
		}
		last += i
	}
}
