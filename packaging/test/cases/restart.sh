# SPDX-License-Identifier: Apache-2.0
#
# A restart, an upgrade and a signal by hand close no connection, and lose no byte:
# hundreds of clients have sent half a line before and send the rest afterwards. A
# stop ends them.
. ./assert.sh
. ./clients.sh

# A shell waits with select(2), which takes no descriptor above 1023. The case "crowd" has
# more clients.
[ "$clients" -lt 900 ] || clients=900
claim "install" install_package
mkdir -p /etc/penstock/conf.d
more=/etc/penstock/conf.d/50-restart.toml
cat >$more <<-'END'
	[limits]
	connections = 20000
	per_source = 20000
	[service.mirror]
	kind = "echo"
	listen = ["127.0.0.1:1061"]
	[service.hall]
	kind = "room"
	listen = ["127.0.0.1:1062"]
	welcome = ""
	message = "{line}"
	[service.asked]
	kind = "handler"
	listen = ["127.0.0.1:1063"]
	drain_timeout = "60s"
	error = "lost\n"
	command = ["/bin/sh", "-c", '''
	cd /run/penstock/private
	while IFS= read -r m; do
		conn=${m#*'"conn":'} said=${m##*'"data":"'}
		said=${said%??}
		case $said in
		ignore)
			: >ignored
			continue
			;;
		wait)
			: >waits
			until [ -e answer ]; do sleep 0.1; done
			;;
		esac
		printf '{"conn":%s,"data":"%s %s\\n"}\n' "${conn%%,*}" "$said" $$
	done
	''']
END
claim "apply" penstock apply

claim "$clients clients" connect "$clients" 1061
exec {speaker}<>/dev/tcp/127.0.0.1/1062 {hears}<>/dev/tcp/127.0.0.1/1062

# carried ROUND finishes what begin has begun. A member of the room asks nothing and must
# be one still.
carried() {
	local line
	finish "$1" || return
	printf 'round %s\n' "$1" >&"$speaker"
	IFS= read -r -t $((10 * slow)) -u "$hears" line
	is "$line" "round $1"
}

# ended FD: the daemon has closed the connection; a timeout has another status.
ended() {
	local line
	IFS= read -r -t $((10 * slow)) -u "$1" line
	is $? 1
}

# tried COUNT: so many starts were begun, and more.
tried() { [ "$(starts)" -gt "$1" ]; }

begin 0
claim "before" carried 0

# Another way to start the next process in each round.
again() {
	local old
	old=$(pid)
	claim "half a line: $1" begin "$1"
	shift
	claim "$*" "$@"
	claim "another process, and an empty store" eventually 20 running "$old"
}
again 1 systemctl restart penstock.service
claim "every byte, in order" carried 1
again 2 install_package ./penstock-next.deb
claim "every byte, in order" carried 2
again 3 systemctl kill --kill-whom=main -s INT penstock.service
claim "every byte, in order" carried 3
again 4 systemctl kill --kill-whom=main -s USR2 penstock.service
claim "every byte, in order" carried 4

# No process can start for a while. The queue waits.
begin 5
old=$(pid)
mv /usr/bin/penstock /usr/bin/penstock.away
claim "restart without a program" systemctl restart --no-block penstock.service
claim "it is tried several times" eventually 30 tried $(($(starts) + 3))
mv /usr/bin/penstock.away /usr/bin/penstock
claim "another process, and an empty store" eventually 60 running "$old"
claim "every byte, in order" carried 5

# The program of a handler has not answered. One message it never will, one it answers when
# the restart has begun, and one comes after that. All others are served meanwhile.
says() { printf '%s\n' "$2" >&"$1"; }
told() { IFS= read -r -t $((20 * slow)) -u "$1" answer && [[ "$answer " == "$2 "* ]]; }
handing() { not is "$(logged penstock "daemon handing over" | wc -l)" "$1"; }
private=/run/penstock/private
exec {ignored}<>/dev/tcp/127.0.0.1/1063 {waits}<>/dev/tcp/127.0.0.1/1063 {comes}<>/dev/tcp/127.0.0.1/1063
says "$ignored" hello
claim "the program of a handler" told "$ignored" hello
program=$answer
says "$ignored" ignore
claim "it has a message" eventually 10 test -e $private/ignored
says "$waits" wait
claim "and another one" eventually 10 test -e $private/waits
begin 6
old=$(pid)
restarts=$(logged penstock "daemon handing over" | wc -l)
claim "restart" systemctl restart --no-block penstock.service
claim "which has begun" eventually 20 handing "$restarts"
says "$comes" hello
claim "every byte, in order, before the end of the program" carried 6
claim "by the same process" is "$(pid)" "$old"
: >$private/answer
claim "another process, and an empty store" eventually 60 running "$old"
claim "what it had taken it has answered" told "$waits" wait
claim "itself" is "${answer#wait }" "${program#hello }"
claim "what it had not taken is answered" told "$comes" hello
denied "by itself" is "$answer" "$program"
program=$answer
says "$ignored" hello
claim "what it did not answer gets the error" told "$ignored" lost
claim "once" told "$ignored" hello
claim "and then the next program" is "$answer" "$program"

# One does not read, and its queue is full. Two restarts in a row.
exec {stuck}<>/dev/tcp/127.0.0.1/1061
(timeout 20 head -c 2000000 /dev/zero | tr '\0' x >&"$stuck") 2>/dev/null &
writer=$!
claim "a full queue" eventually 10 eval "ss -Htn 'sport = :1061' | awk '\$3 > 20000' | grep -q ."
begin 7
for again in 1 2; do
	old=$(pid)
	claim "restart $again in a row" systemctl restart penstock.service
	claim "another process, and an empty store" eventually 20 running "$old"
done
claim "every byte, in order" carried 7
claim "the stuck one gets its own bytes only" is "$(timeout $((20 * slow)) head -c 400000 <&"$stuck" | tr -d x | wc -c)" 0
kill $writer 2>/dev/null
wait $writer 2>/dev/null
exec {stuck}>&-

claim "no connection was closed" is "$(journal -o cat MESSAGE_ID=ebb095295387405384d557a194e43899 | wc -l)" 0
claim "the log counts them" eval "logged penstock 'connections taken over' | grep -c . | grep -qx 8"

# What a changed file does not want any more is closed, and all others go on.
begin 8
sed -i 's/"room"/"discard"/; /^welcome\|^message/d' $more
claim "restart with another file" systemctl restart penstock.service
claim "the room's clients are closed" ended "$hears"
claim "the log says why" logged penstock "connections of a service not taken over"
exec {hears}>&- {speaker}>&-
exec {speaker}<>/dev/tcp/127.0.0.1/1061
hears=$speaker
claim "the others" carried 8

# A manager that keeps nothing: the connections are finished, and the log says why.
mkdir /etc/systemd/system/penstock.service.d
printf '[Service]\nFileDescriptorStoreMax=0\n' >/etc/systemd/system/penstock.service.d/store.conf
claim "no store" systemctl daemon-reload
old=$(pid)
claim "restart without a store" systemctl restart penstock.service
claim "the connections were finished" ended "${open[1]}"
claim "the log says so" logged penstock "connections not handed over"
claim "the service is there" eventually 20 running "$old"
{ exec {fd}<>/dev/tcp/127.0.0.1/1061; } 2>/dev/null
open=([0]=$fd)
speaker=$fd hears=$fd
begin 9
claim "and serves" carried 9

claim "stop" systemctl stop penstock.service
claim "a stop ends them" ended "${open[0]}"
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
