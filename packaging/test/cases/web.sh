# SPDX-License-Identifier: Apache-2.0
#
# The page is a package of its own: the port is open from penstock apply on, a request starts
# the program in its sandbox, which sees the daemon and wakes it for nobody but a client; a
# mistake is told and not tried again and again; and with the package the port goes.
# varlinkctl, which Debian 12 has not, does the same without a program of ours.
. ./assert.sh

# get PATH [HEADER] prints what the page answers, with its head.
get() { printf 'GET %s HTTP/1.1\r\nHost: localhost\r\n%bConnection: close\r\n\r\n' "$1" "${2:-}" | socat -t "$((10 * slow))" - TCP:127.0.0.1:8377; }
# says PATH WORDS [HEADER] states that the words are in the answer.
says() { get "$1" "${3:-}" | tee /run/answer | grep -F -- "$2" || { cut -c -200 /run/answer | head -n 20; return 1; }; }
# has WORDS COMMAND... states that COMMAND prints the words.
has() { "${@:2}" | tee /run/answer | grep -F -- "$1" || { cut -c -200 /run/answer; return 1; }; }
starts_of() { journal -o cat MESSAGE_ID=7d4958e842da4a758f6c1cdc7b36dcc5 UNIT="$1" | wc -l; }
web=/etc/penstock/conf.d/50-web.toml

claim "install" install_package
mkdir -p /etc/penstock/conf.d
printf '[web]\n' >$web
claim "apply without the program" penstock apply
denied "makes no port" listens 8377
claim "install the page" install_package ./penstock-web.deb
claim "it opens the port" listens 8377
claim "and does not run" state_is penstock-web.service inactive
claim "a daemon that sleeps" state_is penstock.service inactive
claim "is well" says /healthz "ok: penstock.service does not run"
claim "and the page says so" says / "its first client starts it"
claim "neither wakes it" state_is penstock.service inactive
claim "a client does" answers 1060
claim "the page has it" says / "127.0.0.1:1060"
claim "metrics" says /metrics "penstock_connections_accepted_total"
claim "the same as of the command" is "$(get /metrics | sed '1,/^\r$/d' | grep '^# TYPE' | tr -d '\r')" "$(penstock metrics | grep '^# TYPE')"
claim "a stranger's page gets nothing" says / "403 Forbidden" 'Origin: http://evil.example\r\n'
claim "one process has answered all" is "$(starts_of penstock-web.service)" 1
denied "its user is not the daemon's" is "$(property penstock-web.service UID)" "$(id -u penstock)"

# varlinkctl, here and over ssh, for which a pipe stands.
at=/run/penstock/control
if command -v varlinkctl; then
	claim "varlinkctl info" has "penstock.Control" varlinkctl info $at
	claim "introspect" has "method Status()" varlinkctl introspect $at penstock.Control
	claim "the standard interface" has "method GetInfo()" varlinkctl introspect $at org.varlink.service
	claim "call" has '"phase":"ready"' varlinkctl call $at penstock.Control.Status '{}'
	claim "call with more" has "127.0.0.1:1060" varlinkctl call --more $at penstock.Control.Services '{}'
	claim "metrics for systemd" has "penstock.Control" varlinkctl call --more $at io.systemd.Metrics.Describe '{}'
	claim "an act" varlinkctl call $at penstock.Control.SetLogLevel '{"level":"info"}'
	denied "a service that is not there" varlinkctl call $at penstock.Control.Drain '{"service":"nobody"}'
	printf '#!/bin/sh\nwhile [ "$1" != -W ]; do shift; done\nexec socat - "UNIX-CONNECT:$2"\n' >/run/ssh
	chmod +x /run/ssh
	SYSTEMD_SSH=/run/ssh
	export SYSTEMD_SSH
	claim "over ssh" has '"phase":"ready"' varlinkctl call ssh-unix:board:$at penstock.Control.Status '{}'
fi

# With a room, whose terminal is a client.
cat >>$web <<-'END'
	services = ["hall"]
	[service.hall]
	kind   = "room"
	listen = ["127.0.0.1:1401"]
END
claim "apply a room with a terminal" penstock apply
exec {guest}<>/dev/tcp/127.0.0.1/1401
exec {browser}<>/dev/tcp/127.0.0.1/8377
printf 'GET /ws/hall HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n' >&"$browser"
IFS= read -r -t $((10 * slow)) -u "$browser" line
claim "a browser comes in" is "$line" $'HTTP/1.1 101 Switching Protocols\r'
# A frame of text, final and masked by zeros (RFC 6455, section 5.2).
printf '\x81\x85\0\0\0\0hello' >&"$browser"
heard() { timeout "$((10 * slow))" grep -m 1 -F hello <&"$guest"; }
claim "and is heard" heard
exec {browser}>&- {guest}>&-

# A mistake: no request is without an answer, and none starts a process after the other.
printf '[web]\npassword_file = "/etc/penstock/web.password"\n' >$web
claim "apply a password whose file is missing" penstock apply
before=$(starts_of penstock-web.service)
claim "is told" says / "503 Service Unavailable"
claim "with the reason" says / "the service manager could not read it"
claim "by one process at most" below "$(($(starts_of penstock-web.service) - before))" 2
echo sesame | penstock-web hash | install -m 600 /dev/stdin /etc/penstock/web.password
claim "with the file" systemctl restart penstock-web.socket
claim "it is asked for" says / "401 Unauthorized"
claim "and lets in" says /healthz "200 OK" "Authorization: Basic $(printf x:sesame | base64)\r\n"

# Upgrade and removal.
claim "install it again" install_package ./penstock-web.deb
claim "the port stays open" listens 8377
claim "remove" dpkg -r penstock-web
denied "the port is closed" listens 8377
sleep 1 # what upholds the socket would have come
denied "and stays closed" listens 8377
claim "apply without it" penstock apply
claim "the daemon's services go on" answers 1060
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
