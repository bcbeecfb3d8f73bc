# SPDX-License-Identifier: Apache-2.0
#
# A socket that has died comes back by itself, and stopping the target stops
# everything and nothing starts again, although clients knock.
. ./assert.sh

claim "install" install_package
claim "the target asks for its sockets" eval "property penstock.target Upholds | grep penstock-lancelot.socket"
systemctl stop penstock-lancelot.socket
claim "a socket that was stopped comes back" eventually 15 listens 1060
claim "answers" eventually 15 answers 1060
# Often, for what hinders it is a matter of milliseconds: a process that has
# forked from the manager holds the old socket still.
for n in {1..30}; do
	systemctl restart penstock-lancelot.socket && answers 1060 || break
done >/run/restarts 2>&1
claim "thirty restarts of a single socket, the service running" is "$n" 30
claim "answers after that" eventually 5 answers 1060
claim "the other service too" listens 51423

systemctl stop penstock.target
claim "stopped: no service" eventually 5 state_is penstock.service inactive
for _ in 1 2 3 4 5; do
	denied "stopped: refused" connects 1060
	sleep 0.5
done
claim "stopped: still no service" state_is penstock.service inactive
claim "start" systemctl start penstock.target
claim "answers again" answers 1060
claim "restart of the service alone" systemctl restart penstock.service
claim "answers after that too" answers 1060
claim "start of the service from nothing brings its sockets" eval "systemctl stop penstock.target penstock.service; systemctl start penstock.service && answers 1060"
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
