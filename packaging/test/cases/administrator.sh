# SPDX-License-Identifier: Apache-2.0
#
# An administrator's own unit, drop-in or mask of a generated socket wins. A
# masked socket is left out without a word: nothing fails, the rest is served
# and the journal does not fill.
. ./assert.sh

upholding() { journal -o cat | grep -c 'upholds it'; }

claim "install" install_package
lookup other '"127.0.0.1:1062"'
claim "apply" penstock apply
claim "answers" is "$(ask 1062)" "other."

systemctl mask -q --now penstock-other.socket
systemctl daemon-reload
claim "apply with a masked socket" penstock apply
claim "the others answer" answers 1060
denied "the masked one does not" listens 1062
claim "the status says so" eventually 10 eval "property penstock.service StatusText | grep other"
before=$(upholding)
sleep 10
claim "the journal does not fill" below $(($(upholding) - before)) 2
claim "restart" systemctl restart penstock.service
claim "the others answer after a restart" answers 1060
systemctl unmask -q penstock-other.socket
claim "apply after unmasking" penstock apply
claim "it answers again" is "$(ask 1062)" "other."

mkdir -p /etc/systemd/system/penstock-other.socket.d
printf '[Socket]\nListenStream=127.0.0.1:1066\nBacklog=7\n' >/etc/systemd/system/penstock-other.socket.d/own.conf
claim "apply with a drop-in" penstock apply
claim "the drop-in's port answers" is "$(ask 1066)" "other."
claim "the file's port too" is "$(ask 1062)" "other."
claim "the drop-in's backlog" is "$(property penstock-other.socket Backlog)" 7
rm -r /etc/systemd/system/penstock-other.socket.d

printf '[Unit]\nPartOf=penstock.target\nStartLimitIntervalSec=0\n[Socket]\nListenStream=127.0.0.1:1067\nFileDescriptorName=other\nService=penstock.service\n' \
	>/etc/systemd/system/penstock-other.socket
claim "apply with an own unit" penstock apply
claim "the own unit's port answers" is "$(ask 1067)" "other."
claim "the others answer to the end" answers 1060
rm /etc/systemd/system/penstock-other.socket
claim "apply without it" penstock apply
claim "back at the file's port" is "$(ask 1062)" "other."
denied "the own port is closed" listens 1067
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
