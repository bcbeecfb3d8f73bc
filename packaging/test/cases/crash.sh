# SPDX-License-Identifier: Apache-2.0
# Timeout: 150
#
# Neither a crash loop nor impatient restarts make a port dead, nor is the
# service started more than a few times a minute while a client waits. Killed
# again and again with a client waiting it comes back each time.
. ./assert.sh

kill_it() {
	local pid
	pid=$(property penstock.service MainPID)
	[ "$pid" != 0 ] && kill -KILL "$pid"
}

claim "install" install_package
claim "answers" answers 1060
for _ in 1 2 3 4 5 6 7; do systemctl restart penstock.service; done
claim "seven restarts in a row" answers 1060
claim "the socket lives" state_is penstock-lancelot.socket active

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
claim "at most a few starts a minute" below "$count" 6
claim "it was tried again all the same" below 1 "$count"
claim "nobody was refused" not test -e /run/refused
claim "the socket lives still" state_is penstock-lancelot.socket active
claim "it recovers by itself" eventually 15 answers 1060
done_claiming
