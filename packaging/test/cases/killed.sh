# SPDX-License-Identifier: Apache-2.0
#
# A process that is killed in the middle of a hand-over, the old one or the new one,
# loses no connection that was in the queue, and no byte of it, unless it has begun to
# take them out. All others are closed. Nobody is left waiting or gets a wrong byte, and
# the service is up again by itself.
. ./assert.sh
. ./clients.sh

seed=${restart_seed:-$RANDOM}
echo "     seed $seed"
RANDOM=$seed

claim "install" install_package
crowd_services
# The new process stops before it begins, if this file is there.
wait_file=/run/stop-at-start
override "ExecStart=" \
	"ExecStart=/bin/sh -c '[ ! -e $wait_file ] || kill -STOP \$\$\$\$; exec /usr/bin/penstock run -c $config'" \
	"NoExecPaths=" "ExecPaths="
claim "apply" penstock apply
crowd "$clients"
claim "$clients clients" served 0

stopped() { not is "$(pid)" "$1" && grep -q '^State:.T' "/proc/$(pid)/status"; }
# 252 has a process wait that was started too often.
forget_starts() { rm -f /run/penstock/private/starts; }

# old MOMENT N: the old process is killed at that system call of a restart. It leaves what
# the probe says in outcome.
old() {
	local old probe
	old=$(pid)
	forget_starts
	./probe kill "$old" "$1" "$2" >/run/probe 2>&1 &
	probe=$!
	eventually 10 grep -q traced /run/probe || return
	systemctl restart penstock.service
	wait $probe || cat /run/probe
	outcome=$(tail -n 1 /run/probe)
	eventually 20 running "$old"
}

# new MOMENT N [MOMENT N]...: the new process is killed at that system call, and the one
# that follows at the next.
new() {
	local old status=0
	old=$(pid)
	: >$wait_file
	systemctl restart --no-block penstock.service
	while [ $# != 0 ]; do
		eventually 20 stopped "$old" || status=1
		old=$(pid)
		forget_starts
		[ $# != 2 ] || rm -f $wait_file
		./probe kill "$old" "$1" "$2" >/run/probe 2>&1 || status=1
		shift 2
	done
	outcome=$(tail -n 1 /run/probe)
	[[ $outcome == killed* ]] || old=0 # that one serves
	eventually 20 running "$old" && return $status
}

# both SEND TAKE: the old process is killed at that message, and the new one too.
both() {
	local last probe
	last=$(pid)
	: >$wait_file
	forget_starts
	./probe kill "$last" send "$1" >/run/probe 2>&1 &
	probe=$!
	eventually 10 grep -q traced /run/probe || return
	systemctl restart --no-block penstock.service
	wait $probe
	outcome=$(tail -n 1 /run/probe)
	eventually 20 stopped "$last" || return
	last=$(pid)
	rm $wait_file
	./probe kill "$last" take "$2" >/run/probe 2>&1
	grep -q ^killed /run/probe || return
	eventually 20 running "$last"
}

# survivors SIDE prints how many connections go on after what is in outcome. The first
# message of a queue is the records, the next ones bring 250 connections each.
survivors() {
	local queued=${outcome##*queued=} taken=${outcome##*taken=}
	queued=$(((${queued%% *} - 1) * 250))
	case $1:$outcome in
	old:killed* | both:killed*) echo $((queued < 0 ? 0 : queued < clients ? queued : clients)) ;;
	new:killed*) echo $((taken > 0 ? 0 : clients)) ;;
	*) echo "$clients" ;;
	esac
}

# dies SIDE MOMENT N...
dies() {
	local kept
	outcome=
	claim "$*" "$@"
	kept=$(survivors "$1")
	claim "$outcome: $kept go on, byte by byte, and the others were closed" served $((clients - kept))
}
# dies_so WANT SIDE MOMENT N...: with a fixed number of those that go on.
dies_so() {
	local want=$1
	shift
	dies "$@"
	claim "killed" eval "[[ \$outcome == killed* ]]"
	claim "$want" is "$(survivors "$1")" "$want"
}
batch=$((clients < 250 ? clients : 250))
dies_so 0 old store 1
dies_so 0 old send 1
dies_so 0 old send 2
dies_so $batch old send 3
dies_so $batch both 3 1
dies_so "$clients" new peek 1
dies_so "$clients" new peek 2 take 1
# Here it has begun to take the connections over: this is a crash like any other.
dies_so 0 new take 2
dies_so 0 new ready 1

# At any call of the freeze, and of the adoption. Their number is counted first.
dies old calls 0
old_calls=${outcome#*calls=}
dies new calls 0
new_calls=${outcome#*calls=}
echo "     $((old_calls = ${old_calls%% *})) and $((new_calls = ${new_calls%% *})) calls"
for ((n = 0; n < ${restart_kills:-3}; n++)); do
	dies old calls $((1 + (RANDOM << 15 | RANDOM) % old_calls))
	dies new calls $((1 + (RANDOM << 15 | RANDOM) % new_calls))
done

dies old calls 0
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
