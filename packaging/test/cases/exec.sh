# SPDX-License-Identifier: Apache-2.0
#
# Programs for each client run inside the sandbox, in both ways: each client has one of its
# own, further ones wait, the program knows its client and has the usual limit of files, and
# a restart drains it.
. ./assert.sh

cat >/run/exec.toml <<-'END'
	[service.upper]
	kind    = "exec"
	listen  = ["127.0.0.1:1201"]
	command = ["/usr/bin/tr", "a-z", "A-Z"]
	[service.who]
	kind    = "exec"
	listen  = ["127.0.0.1:1202"]
	io      = "socket"
	command = ["/bin/sh", "-c", 'echo "$TCPREMOTEIP $TCPLOCALPORT $PENSTOCK_SERVICE $(id -un) $(ulimit -Sn)"']
	[service.one]
	kind    = "exec"
	listen  = ["127.0.0.1:1203"]
	max_children = 1
	command = ["/bin/sh", "-c", 'echo up; cat; echo down']
	[service.broken]
	kind    = "exec"
	listen  = ["127.0.0.1:1204"]
	command = ["/usr/bin/no-such-program"]
END
says() { printf '%s' "$2" | socat -t "$((10 * slow))" - "TCP:127.0.0.1:$1"; }

claim "install" install_package
mkdir -p /etc/penstock/conf.d
cp /run/exec.toml /etc/penstock/conf.d/50-exec.toml
claim "apply" penstock apply
claim "tasks for all of them" eval "[ $(property penstock.service TasksMax) -gt 300 ]"
claim "a program between pipes has its end of input" is "$(says 1201 hello)" HELLO
claim "a large answer is whole" is "$(head -c 300000 /dev/zero | tr '\0' a | socat -t "$((10 * slow))" - TCP:127.0.0.1:1201 | md5sum)" \
	"$(head -c 300000 /dev/zero | tr '\0' A | md5sum)"
claim "one with the connection knows its client" is "$(says 1202 "")" "127.0.0.1 1202 who penstock 1024"

exec {first}<>/dev/tcp/127.0.0.1/1203
IFS= read -r -t $((10 * slow)) -u "$first" line
claim "the first one has its program" is "$line" up
exec {second}<>/dev/tcp/127.0.0.1/1203
echo early >&"$second"
denied "the second one waits" read -r -t 1 -u "$second" line
exec {first}>&-
IFS= read -r -t $((10 * slow)) -u "$second" line
claim "and is served when the first is gone" is "$line" up
IFS= read -r -t $((10 * slow)) -u "$second" line
claim "with what it has said meanwhile" is "$line" early
claim "restart" systemctl restart penstock.service
IFS= read -r -t $((10 * slow)) -u "$second" line
claim "its program was given time to end" is "$line" down
exec {second}>&-
claim "others are served at once" is "$(says 1201 again)" AGAIN

claim "a program that is not there" is "$(says 1204 x)" ""
claim "is named in the log" logged penstock.service /usr/bin/no-such-program
rm /etc/penstock/conf.d/50-exec.toml
claim "apply without them" penstock apply
claim "nothing but the daemon may be executed" is "$(property penstock.service ExecPaths)" /usr/bin/penstock
claim "no process is left" is "$(pgrep -u penstock -x tr; pgrep -u penstock -x cat)" ""
done_claiming
