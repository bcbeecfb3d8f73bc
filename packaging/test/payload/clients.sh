# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # assert.sh comes first
#
# clients.sh: clients that stay connected, for the cases about restarts.

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
