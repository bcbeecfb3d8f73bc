# SPDX-License-Identifier: Apache-2.0
# Boots: qemu
# Pages: 16k
#
# The life of the package on a board, from installation to purging, in one go:
# on an emulated processor every start of systemd's tools costs a second. What
# is claimed here is claimed more closely, one by one, by the other cases.
. ./assert.sh
. ./clients.sh

# installation, activation, conversation
claim "install" install_package
claim "listens" listens 1060
claim "nothing runs" state_is penstock.service inactive
claim "the activating client is answered" answers 1060
first=$(pid)
claim "as its own user" is "$(ps -o user= -p "$first")" penstock

# limits that only hold where the kernel has their controllers
group=/sys/fs/cgroup/system.slice/penstock.service
if grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
	total=$(awk '/^MemTotal:/ { print $2 * 1024 }' /proc/meminfo)
	claim "memory is limited" below "$(cat $group/memory.max)" $((total / 3))
	claim "so are tasks" is "$(cat $group/pids.max)" 64
fi
claim "a system call filter" is "$(sed -n 's/^Seccomp:\t*//p' "/proc/$first/status")" 2

# the journal
claim "explained" eval "journal -x -t penstock MESSAGE_ID=339586fe9749450eab7da5bb7f4867f8 | grep -F 'penstock is ready'"

# another service, and the records of connections
printf '\n[log]\nlevel = "debug"\n' >>$config
lookup added '"127.0.0.1:1072"'
crowd_services
claim "apply" penstock apply
claim "the added service answers" is "$(ask 1072)" "added."
claim "who came" eventually 5 eval "journal -o json -t penstock SERVICE=added | grep -F '\"PEER\":\"127.0.0.1:'"

# reload, good and bad
sed -i 's/Camelot/Caerleon/' $config
claim "reload" systemctl reload penstock.service
claim "the new answer" is "$(ask 1060 'What is your name?')" "My name is Sir Lancelot of Caerleon."
sed -i 's/^default   .*/default   = 42/' $config
denied "reload of a bad file" systemctl reload penstock.service
claim "the place is in the journal" logged penstock "$config:$(grep -n '^default   ' $config | cut -d: -f1)"
claim "the old file is in force" answers 1060
sed -i 's/^default   .*/default   = "Who?."/' $config

# restart and upgrade, with clients of all kinds that talk all the time; and an upgrade
# under load
crowd "$clients"
claim "$clients clients" served 0
first=$(pid)
claim "restart" systemctl restart penstock.service
claim "another process, and an empty store" eventually 20 running "$first"
claim "nobody was closed, and every byte came" served 0
rm -f /run/load-*
for n in 1 2 3; do load $n 1060 & done
claim "load before the upgrade" eventually 60 enough 100
first=$(pid)
claim "upgrade" install_package ./penstock-next.deb
claim "another process, and an empty store" eventually 20 running "$first"
claim "nobody was closed, and every byte came" served 0
disperse
claim "load after the upgrade" eventually 120 enough $(($(loaded) + 100))
claim "300 clients or more" eventually 120 enough 300
unload
claim "both versions have run" is "$(journal -o cat -t penstock MESSAGE_ID=339586fe9749450eab7da5bb7f4867f8 | grep -o 'version=[^ ]*' | sort -u | wc -l)" 2
claim "stop" systemctl stop penstock.service
claim "answers after a stop" answers 1060

# the watchdog
mkdir -p /run/systemd/system/penstock.service.d
printf '[Service]\nWatchdogSec=%ss\nTimeoutAbortSec=1s\nRestartSec=1s\n' $((slow > 1 ? 8 : 2)) >/run/systemd/system/penstock.service.d/test.conf
systemctl daemon-reload
systemctl restart penstock.service
claim "answers under a watchdog" answers 1060
first=$(pid)
sleep $((slow > 1 ? 12 : 4))
claim "a healthy one is left alone" is "$(pid)" "$first"
kill -STOP "$first"
# The signal stops one thread after the other; a client could still be answered.
claim "it is stuck" eventually 5 not grep -q '^State:.[^Tt]' "/proc/$first/task/"*/status
claim "a stuck one is replaced, and the client answered" eventually 12 answers 1060
claim "it was another process" not is "$(pid)" "$first"

# the end
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
rm /etc/penstock/table.toml
claim "purge" dpkg -P penstock
denied "nothing listens" listens 1060
denied "nothing runs" pgrep -x penstock
claim "nothing is left" is "$(find /etc /usr /var/lib /run -xdev -name '*penstock*' ! -path '/run/test/*' ! -path '/run/systemd/system/*' ! -path '/run/board.log')" ""
done_claiming
