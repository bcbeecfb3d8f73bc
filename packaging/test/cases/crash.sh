# SPDX-License-Identifier: Apache-2.0
#
# A crash costs clients a moment and not ten seconds. Neither a crash loop nor
# impatient restarts make a port dead, nor is the service started more than a few
# times a minute in the end while a client waits. Killed again and again with a
# client waiting it comes back each time.
. ./assert.sh

# A process that waits before it begins, as on 252, has not crashed yet.
kill_it() {
	local pid
	state_is penstock.service active >/dev/null || return
	pid=$(property penstock.service MainPID)
	[ "$pid" != 0 ] && kill -KILL "$pid"
}

claim "install" install_package
claim "answers" answers 1060
for _ in 1 2 3 4 5 6 7; do systemctl restart penstock.service; done
claim "seven restarts in a row" answers 1060
claim "the socket lives" state_is penstock-lancelot.socket active

claim "killed" kill_it
start=$(date +%s%N)
claim "answers after a crash" answers 1060
took=$((($(date +%s%N) - start) / 1000000))
echo "     $took ms from a crash to an answer"
claim "soon" below $took $((3000 * slow))

before=$(starts)
(
	end=$((SECONDS + 40))
	while [ $SECONDS -lt $end ]; do
		kill_it
		sleep 0.2
	done
) &
answered=0 end=$((SECONDS + 40))
while [ $SECONDS -lt $end ]; do
	[[ $(ask 1060) != refused ]] || echo refused >>/run/refused
	answered=$((answered + 1))
	sleep 0.5
done
wait
count=$(($(starts) - before))
echo "     $count starts in 40 s of a crash loop"
claim "fewer starts as time goes on" below "$count" 16
claim "it was tried again all the same" below 1 "$count"
claim "nobody was refused" not test -e /run/refused
claim "the socket lives still" state_is penstock-lancelot.socket active
claim "it recovers by itself" eventually 15 answers 1060
done_claiming
