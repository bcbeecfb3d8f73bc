# SPDX-License-Identifier: Apache-2.0
#
# A fresh installation listens and runs nothing; the first client starts the
# service and is answered itself; removal and purging leave nothing behind.
. ./assert.sh

unix_greets() { (sleep 1) | socat -T5 - UNIX-CONNECT:/run/penstock/lobby.sock | grep -qi welcome; }
logged_status() { property penstock.service StatusText | grep '2 services'; }
leftovers() { find / -xdev -name '*penstock*' ! -path '/run/test/*' ! -path '/var/log/*' ! -path '/payload*' ! -path '/proc/*'; }

claim "install" install_package
claim "target is enabled" is "$(systemctl is-enabled penstock.target)" enabled
claim "target is active" state_is penstock.target active
claim "socket of lancelot listens" state_is penstock-lancelot.socket active
claim "socket of lobby listens" state_is penstock-lobby.socket active
claim "service is static" is "$(systemctl is-enabled penstock.service)" static
claim "service does not run" state_is penstock.service inactive
denied "no process" pgrep -x penstock
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""

claim "the activating client is answered" answers 1060
claim "service runs" state_is penstock.service active
claim "it was READY" is "$(property penstock.service SubState)" running
claim "not as root" is "$(ps -o user= -p "$(property penstock.service MainPID)")" penstock
claim "another question" is "$(ask 1060 'What is your name?')" "My name is Sir Lancelot of Camelot."
claim "unix socket answers" eventually 10 unix_greets
claim "status line names services" logged_status
claim "journal says it is ready" logged penstock "daemon ready"
claim "dpkg finds no changed file" dpkg -V penstock

claim "stop" systemctl stop penstock.service
claim "the port answers after a stop" answers 1060

claim "remove" dpkg -r penstock
denied "no process after removal" pgrep -x penstock
denied "nothing listens on 1060" listens 1060
denied "nothing listens on 51423" listens 51423
claim "configuration stays" test -f $config
claim "no unit is left" is "$(systemctl list-units --plain --no-legend 'penstock*')" ""
claim "reinstall" install_package
claim "answers again" answers 1060
claim "purge" dpkg -P penstock
denied "nothing listens after purging" listens 1060
claim "no file is left" is "$(leftovers)" ""
claim "the user is kept" getent passwd penstock
claim "nothing failed at last" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
