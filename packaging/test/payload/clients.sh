# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2154 # assert.sh comes first, and a case later
#
# clients.sh: clients that stay connected, for the cases about restarts.

# shellcheck source=/dev/null
. ./settings.sh # written by boot.sh
clients=${restart_clients:-$((slow > 1 ? 60 : 300))}
ulimit -n "$(ulimit -Hn)" # of this shell, which has a descriptor for each client

declare -A open # descriptors of the clients, by their numbers

# connect COUNT PORT connects clients until there are so many.
connect() {
	local n fd
	for ((n = 0; n < $1; n++)); do
		[ -z "${open[$n]:-}" ] || continue
		{ exec {fd}<>"/dev/tcp/127.0.0.1/$2"; } 2>/dev/null && open[$n]=$fd
	done
	is "${#open[@]}" "$1"
}

# begin ROUND sends the first half of a line from every client. finish ROUND sends the
# second, and compares the echo of both: one client that is not answered by the bytes
# that it has sent is a failure.
begin() {
	local n
	for n in "${!open[@]}"; do printf 'line %s of %s,' "$1" "$n" >&"${open[$n]}"; done
}
finish() {
	local n line bad=0
	send "$1"
	for n in "${!open[@]}"; do
		line=
		IFS= read -r -t $((10 * slow)) -u "${open[$n]}" line
		[ "$line" = "line $1 of $n, and its end" ] || {
			bad=$((bad + 1))
			echo "client $n: '$line'"
		}
	done
	[ $bad = 0 ]
}
send() {
	local n
	for n in "${!open[@]}"; do printf ' and its end\n' >&"${open[$n]}"; done 2>/dev/null
}

# survive ROUND COUNT is finish where COUNT clients are served, and all others must have
# been closed, and not be left without a word. Those are forgotten.
survive() {
	local n fd line status bad=0
	trap '' PIPE
	send "$1"
	trap - PIPE
	for n in "${!open[@]}"; do
		line="" status=0
		IFS= read -r -t $((10 * slow)) -u "${open[$n]}" line || status=$?
		[ "$status $line" != "0 line $1 of $n, and its end" ] || continue
		# A timeout has a status above 128. The echo of the first half may have come.
		[[ $status = 1 && "line $1 of $n," == "$line"* ]] || {
			bad=$((bad + 1))
			echo "client $n: status $status, '$line'"
		}
		fd=${open[$n]}
		exec {fd}>&-
		unset "open[$n]"
	done
	is "${#open[@]}" "$2" && [ $bad = 0 ]
}

pid() { property penstock.service MainPID; }
stored() { property penstock.service NFileDescriptorStore; }
# running OLD: another process than OLD serves, and nobody keeps anything for it.
running() { state_is penstock.service active && not is "$(pid)" "$1" && is "$(stored)" 0; }

# override LINE... puts lines into a drop-in of the service, or removes it.
override() {
	local dropin=/etc/systemd/system/penstock.service.d/test.conf
	mkdir -p "${dropin%/*}"
	rm -f $dropin
	[ $# = 0 ] || printf '%s\n' '[Service]' "$@" >$dropin
	systemctl daemon-reload
}

# echoes writes a file with an echo service on a port.
echoes() {
	mkdir -p /etc/penstock/conf.d
	cat >"/etc/penstock/conf.d/50-$1.toml" <<-END_OF_FILE
		[limits]
		connections = 10000
		per_source = 10000
		[service.mirror]
		kind = "echo"
		listen = ["127.0.0.1:$1"]
		max_connections = 10000
	END_OF_FILE
}

# crowd_services writes a file with a service for each kind of client of a crowd.
crowd_services() {
	mkdir -p /etc/penstock/conf.d
	cat >/etc/penstock/conf.d/50-crowd.toml <<-END_OF_FILE
		[limits]
		connections = 20000
		per_source = 20000
		memory = "48MiB"
		[service.mirror]
		kind = "echo"
		listen = ["127.0.0.1:1061", "/run/penstock/mirror.sock"]
		[service.table]
		kind = "lookup"
		listen = ["127.0.0.1:1062"]
		delimiter = "?"
		file = "/etc/penstock/table.toml"
		[service.hall]
		kind = "room"
		listen = ["127.0.0.1:1063"]
		welcome = ""
		message = "{line}"
		[service.pattern]
		kind = "chargen"
		listen = ["127.0.0.1:1064"]
		[service.asked]
		kind = "handler"
		listen = ["127.0.0.1:1066"]
		error = "not answered\n"
		command = ["/bin/sh", "-c", '''
		while IFS= read -r m; do
			conn=\${m#*'"conn":'} said=\${m##*'"data":'}
			printf '{"conn":%s,"data":%s\\\\n"}\n' "\${conn%%,*}" "\${said%??}"
		done
		''']
		[service.clock]
		kind = "ticker"
		listen = ["127.0.0.1:1067"]
		payload = "tick\n"
		interval = "1s"
		[service.shared]
		kind = "bridge"
		listen = ["127.0.0.1:1068"]
		command = ["/bin/cat"]
		write = "any"
	END_OF_FILE
	local n
	for n in {0..99}; do echo "q$n = \"a$n.\""; done >/etc/penstock/table.toml
}

# relays writes a file with services that hold another descriptor beside that of a client,
# or of all clients: proxies to a server that says everything back, a FIFO and a file into
# which lines go.
relays() {
	socat TCP-LISTEN:1073,bind=127.0.0.1,reuseaddr,fork,backlog=64 PIPE &
	mkfifo -m 666 /run/lines.fifo
	: >/run/lines
	cat >/etc/penstock/conf.d/51-relays.toml <<-END_OF_FILE
		[service.relay]
		kind = "proxy"
		listen = ["127.0.0.1:1069"]
		to = ["127.0.0.1:1073"]
		[service.fifo]
		kind = "bridge"
		listen = ["127.0.0.1:1070"]
		device = "/run/lines.fifo"
		[service.lines]
		kind = "tail"
		listen = ["127.0.0.1:1071"]
		file = "/run/lines"
	END_OF_FILE
	# What is said while the service has its FIFO closed is lost.
	(
		n=0
		while sleep 0.1; do
			n=$((n + 1))
			echo "line $n" >&9
			echo "line $n" >>/run/lines
		done
	) 9>/run/lines.fifo 2>/dev/null &
}

# crowd COUNT [PATTERNS [RELAYED]] has so many clients of these services talk all the time.
# PATTERNS of them read slowly, and what has no end: their queues are full. Such a client
# has so much of it before it that it hears of its end much later. RELAYED are of those of
# relays, and as many of its FIFO and its file.
crowd() {
	local patterns=${2:-0} relayed=${3:-0} some=$(($1 / 8)) rate=$((slow > 1 ? 60 : 3000))
	crowd_size=$1
	coproc CROWD { exec ./probe clients $rate \
		"echo:$(($1 - 2 * some - 36 - patterns - 3 * relayed)):127.0.0.1:1061" \
		"echo:$some:/run/penstock/mirror.sock" "lookup:$some:127.0.0.1:1062" \
		room:12:127.0.0.1:1063 "chargen:$patterns:127.0.0.1:1064" \
		handler:8:127.0.0.1:1066 ticker:12:127.0.0.1:1067 bridge:4:127.0.0.1:1068 \
		"echo:$relayed:127.0.0.1:1069" "lines:$relayed:127.0.0.1:1070" "lines:$relayed:127.0.0.1:1071" \
		2>/run/crowd; }
	crowd_pid=$CROWD_PID
}
disperse() {
	local fd=${CROWD[1]}
	exec {fd}>&-
	wait $crowd_pid
}

# served CLOSED: every client of the crowd is served, by the right bytes, and so many were
# closed since the last time. pause is then how long one has waited for an answer that
# needs no program, in milliseconds.
served() {
	local line='' want="clients=$crowd_size broken=0 closed=$1"
	pause=
	echo >&"${CROWD[1]}"
	IFS= read -r -t $((120 * slow)) -u "${CROWD[0]}" line
	pause=${line##*pause_ms=}
	is "${line% answers=*}" "$want" && return
	cat /run/crowd
	return 1
}
