# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# assert.sh: what every case says its claims with. A failed claim does not end
# the case: the ones after it may tell why.

claims_failed=0
# Everything takes about ten times as long where the CPU is emulated.
if systemd-detect-virt -qc; then slow=1; else slow=10; fi
config=/etc/penstock/penstock.toml

# claim TEXT COMMAND... states that COMMAND succeeds.
claim() {
	local text=$1
	shift
	if "$@" >/run/claim 2>&1; then
		echo "ok   $text"
	else
		printf 'FAIL %s: %.120s\n' "$text" "${*//$'\n'/ }"
		cut -c -300 /run/claim | sed 's/^/     | /' | tail -n 12
		claims_failed=1
	fi
}

# denied TEXT COMMAND... states that COMMAND fails.
denied() {
	local text=$1
	shift
	claim "$text" not "$@"
}
not() { ! "$@"; }

is() {
	[ "$1" = "$2" ] && return
	echo "got  '$1'"
	echo "want '$2'"
	return 1
}

# below A B, for whole numbers.
below() {
	[ "$1" -lt "$2" ] && return
	echo "$1 is not below $2"
	return 1
}

# cpu_time COMMAND... prints the milliseconds of CPU that COMMAND takes: by the
# clock it would be those of whatever else the host does.
cpu_time() {
	local TIMEFORMAT='%3U %3S'
	{ time "$@" >/dev/null 2>&1; } 2>&1 | awk '{ print int(($1 + $2) * 1000) }'
}

# eventually SECONDS COMMAND... polls until COMMAND succeeds.
eventually() {
	local deadline=$((SECONDS + $1 * slow))
	shift
	until "$@" >/run/eventually 2>&1; do
		if [ $SECONDS -ge $deadline ]; then
			cat /run/eventually
			return 1
		fi
		sleep 0.1
	done
}

# done_claiming ends the case.
done_claiming() {
	if [ $claims_failed != 0 ]; then
		echo "--- state"
		systemctl --no-pager --plain list-units --all 'penstock*' --no-legend
		journalctl --no-pager -q -o short-monotonic | grep -i penstock | cut -c -200 | tail -n "${LINES:-40}"
	fi
	exit $claims_failed
}

state() { systemctl show -P ActiveState "$1"; }
state_is() { is "$(state "$1")" "$2"; }
property() { systemctl show -P "$2" "$1"; }

install_package() {
	dpkg -i "${1:-./penstock.deb}" </dev/null >/run/dpkg 2>&1 || {
		cat /run/dpkg
		return 1
	}
}

# ask PORT [QUESTION] prints what a lookup service answers, up to its full stop.
ask() {
	local socket answer=
	{ exec {socket}<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || {
		echo refused
		return 1
	}
	printf '%s' "${2:-What is your quest?}" >&"$socket"
	IFS= read -r -d . -t $((12 * slow)) -u "$socket" answer
	exec {socket}>&-
	printf '%s.\n' "$answer"
	[ -n "$answer" ]
}
answers() { is "$(ask "$1")" "${2:-To seek the Holy Grail.}"; }

listens() { ss -Hltn "sport = :$1" | grep -q .; }
connects() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# journal MATCH... prints what the daemon has logged, all fields as JSON lines
# with -o json; the records written so far are certainly there.
journal() {
	journalctl --sync
	journalctl --no-pager -q "$@"
}
logged() { journal -o cat -u "$1" | grep -F -- "$2"; }

# starts counts how often systemd has begun to start the service
# (SD_MESSAGE_UNIT_STARTING).
starts() { journal -o cat MESSAGE_ID=7d4958e842da4a758f6c1cdc7b36dcc5 UNIT=penstock.service | wc -l; }

# play_broker starts a stand-in for a broker of MQTT, as process $!. It answers the first
# packet (3.2 of MQTT 5.0), and keeps what comes in /run/broker/heard.
play_broker() {
	mkdir -p /run/broker
	cat >/run/broker/answer <<-'END'
		#!/bin/sh
		printf '\040\003\000\000\000'
		exec cat >>/run/broker/heard
	END
	chmod +x /run/broker/answer
	socat TCP-LISTEN:1883,bind=127.0.0.1,reuseaddr,fork EXEC:/run/broker/answer &
}

# repack DEB NEW COMMAND... makes a package NEW in which COMMAND, run in the
# unpacked tree, has changed something.
repack() {
	local deb=$1 new=$PWD/$2 tree
	shift 2
	tree=$(mktemp -d)
	dpkg-deb -R "$deb" "$tree"
	(cd "$tree" && "$@")
	dpkg-deb -b "$tree" "$new" >/dev/null
	rm -rf "$tree"
}

# lookup NAME LISTEN adds a lookup service to the file.
lookup() {
	printf '\n[service.%s]\nkind = "lookup"\nlisten = [%s]\ndelimiter = "?"\ndefault = "%s."\n' \
		"$1" "$2" "$1" >>$config
}

# load NAME PORT... connects to the ports in turn, one client after the other
# and each with a question, until /run/load-stop exists. Who was not answered
# is in /run/load-bad, how many there were in /run/load-count.NAME.
load() {
	local name=$1 n=0 port answer
	shift
	while [ ! -e /run/load-stop ]; do
		for port; do
			answer=$(ask "$port")
			n=$((n + 1))
			[[ $answer == "To seek the Holy Grail." ]] || echo "$n: port $port: $answer" >>/run/load-bad
		done
		echo $n >"/run/load-count.$name"
		# An emulated processor has work to do beside the clients.
		[ $slow = 1 ] || sleep 0.2
	done
}

# loaded prints how many clients all loads have had.
loaded() {
	local total=0 n
	for n in $(cat /run/load-count.* 2>/dev/null); do total=$((total + n)); done
	echo $total
}
enough() { [ "$(loaded)" -ge "$1" ]; }

# unload ends the loads and states that every client was answered: neither
# refused nor let go with its question unheard.
unload() {
	touch /run/load-stop
	wait
	echo "     $(loaded) clients"
	claim "every client was answered" is "$(tail -n 5 /run/load-bad 2>/dev/null)" ""
	rm -f /run/load-*
}
