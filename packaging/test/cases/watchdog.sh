# SPDX-License-Identifier: Apache-2.0
#
# The watchdog is fed by the event loop: a healthy daemon lives on, one that is
# stuck is killed and started again, and the client that waited is answered.
. ./assert.sh

killed() { property penstock.service NRestarts | grep -v '^0$'; }

claim "install" install_package
mkdir -p /etc/systemd/system/penstock.service.d
printf '[Service]\nWatchdogSec=%ss\nTimeoutAbortSec=1s\nRestartSec=1s\n' $((2 * (slow > 1 ? 5 : 1))) >/etc/systemd/system/penstock.service.d/test.conf
systemctl daemon-reload
claim "answers" answers 1060
pid=$(property penstock.service MainPID)
sleep $((5 * (slow > 1 ? 4 : 1)))
claim "a healthy one is left alone" is "$(property penstock.service MainPID)" "$pid"
claim "no restart" is "$(property penstock.service NRestarts)" 0

# SIGSTOP stands for a loop that does not come round. It stops one thread after
# the other. And the manager continues the process for SIGABRT to be heard: then
# it may accept the client, which a loop that is really stuck does not, and die
# with the connection. Such a client asks again.
kill -STOP "$pid"
claim "it is stuck" eventually 5 not grep -q '^State:.[^Tt]' "/proc/$pid/task/"*/status
(ask 1060 || ask 1060) >/run/waited 2>&1 &
claim "a stuck one is killed" eventually 20 killed
wait
claim "the client that waited was answered" grep -q Grail /run/waited
claim "another process" not is "$(property penstock.service MainPID)" "$pid"
claim "the journal says why" eval "journal -o cat -u penstock | grep -i watchdog"
claim "the socket is alive" state_is penstock-lancelot.socket active
done_claiming
