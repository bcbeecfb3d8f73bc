# SPDX-License-Identifier: Apache-2.0
#
# An upgrade under load refuses nobody: every client of both ports is answered
# while dpkg replaces the package, some by the old version and some by the new,
# and the sockets are as alive afterwards as before. That holds as well for a
# version that writes other options into a socket unit.
. ./assert.sh

versions() { journal -o cat -t penstock MESSAGE_ID=339586fe9749450eab7da5bb7f4867f8; }
# served PID: how many clients that process has logged.
served() { journal -o cat -t penstock _PID="$1" | grep -c 'connection closed'; }

claim "install" install_package
printf '\n[log]\nlevel = "debug"\n' >>$config
lookup second '"127.0.0.1:1061"'
sed -i 's/^default = "second."/default = "To seek the Holy Grail."/' $config
claim "apply" penstock apply
claim "first port" answers 1060
claim "second port" answers 1061
old=$(property penstock.service MainPID)
inode=$(ss -Hltne 'sport = :1060' | grep -o 'ino:[0-9]*')

# as if the old version had written another option
sed -i 's/^Backlog=.*/Backlog=77/' /run/penstock/applied/penstock-lancelot.socket
for n in 1 2 3; do
	load $n 1060 1061 &
done
claim "load before the upgrade" eventually 60 enough 120
claim "upgrade" install_package ./penstock-next.deb
claim "load after the upgrade" eventually 120 enough $(($(loaded) + 180))
claim "300 clients or more" enough 300
unload
new=$(property penstock.service MainPID)
claim "another process" not is "$old" "$new"
claim "both versions ran" is "$(versions | grep -o 'version=[^ ]*' | sort -u | wc -l)" 2
claim "the old one served clients" not is "$(served "$old")" 0
claim "the new one served clients" not is "$(served "$new")" 0
claim "the socket was never closed" is "$(ss -Hltne 'sport = :1060' | grep -o 'ino:[0-9]*')" "$inode"
claim "what is left to do is said" grep -F 'penstock-lancelot.socket: changed, left open as it was' /run/dpkg
claim "socket active" state_is penstock-lancelot.socket active
claim "second socket active" state_is penstock-second.socket active
claim "service active" state_is penstock.service active
claim "nothing to reload" is "$(property penstock.service NeedDaemonReload)" no
claim "stop" systemctl stop penstock.service
claim "answers after a stop" answers 1060
claim "answers after a stop, second port" answers 1061
claim "apply does what was left" eval "penstock apply | grep 'penstock-lancelot.socket: changed'"
claim "and answers" answers 1060
claim "once" not eval "penstock apply | grep changed"
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
