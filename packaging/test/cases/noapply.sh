# SPDX-License-Identifier: Apache-2.0
#
# The file is changed and `penstock apply` forgotten, with and without the
# daemon-reload that apt may issue at any time: what did not change is served,
# the status and the journal say what is missing and what to do, and apply
# puts it right, even after sockets and restarts have tripped over each other.
. ./assert.sh

status_says() { property penstock.service StatusText | grep -F -- "$1"; }

claim "install" install_package
claim "answers" answers 1060

lookup added '"127.0.0.1:1062"'
systemctl daemon-reload
sleep 3 # Upholds= tries to start the new socket, which systemd refuses: the daemon runs
claim "added, daemon-reload: the others answer" answers 1060
systemctl restart penstock.service
claim "added, restart: the others answer" answers 1060
claim "apply" penstock apply
claim "the added one answers" is "$(ask 1062)" "added."

sed -i 's/127.0.0.1:1062/127.0.0.1:1063/' $config
systemctl daemon-reload
claim "moved, daemon-reload: the others answer" answers 1060
systemctl restart penstock.service
claim "moved, restart: the others answer" answers 1060
if ! listens 1063; then
	claim "moved, restart: the status names the service" eventually 10 status_says added
	claim "and what to do" status_says "penstock apply"
	claim "the journal too" eval "journal -o cat -u penstock | grep 'listener missing' | grep -F 'run penstock apply'"
fi
claim "apply" penstock apply
claim "it answers at the new port" is "$(ask 1063)" "added."
claim "nothing is degraded" not status_says degraded

sed -i '/^\[service.added\]/,$d' $config
systemctl daemon-reload
claim "removed, daemon-reload: the others answer" answers 1060
systemctl restart penstock.service
claim "removed, restart: the others answer" answers 1060
claim "apply" penstock apply
denied "removed: it listens no more" listens 1063
claim "the socket unit is not active" not systemctl is-active -q penstock-added.socket
claim "the others answer at last" answers 1060

# An upgrade must not make a port deaf that was edited and never applied.
sed -i 's/127.0.0.1:1060/127.0.0.1:1065/' $config
claim "upgrade with an unapplied change" install_package ./penstock-next.deb
claim "the service answers somewhere" eval "answers 1060 || answers 1065"
claim "the other service too" listens 51423
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
