# SPDX-License-Identifier: Apache-2.0
#
# A version that cannot read what the former one has queued closes the connections, with
# the reason in the journal, and serves the next ones. So does the released 0.1.0, which
# knows no queue. A file that the next version refuses costs no connection.
. ./assert.sh
. ./clients.sh

claim "install" install_package
echoes 1061
claim "apply" penstock apply

claim "20 clients" connect 20 1061
echo 'no TOML [' >/etc/penstock/conf.d/60-bad.toml
old=$(pid)
begin 1
claim "upgrade with a bad file" install_package ./penstock-next.deb
claim "which is said" grep -q 'configuration refused' /run/dpkg
claim "by the same process" is "$(pid)" "$old"
denied "apply refuses it too" penstock apply
claim "every byte, in order" finish 1
rm /etc/penstock/conf.d/60-bad.toml

# back PACKAGE
back() {
	old=$(pid)
	claim "20 clients" connect 20 1061
	begin "$1"
	claim "downgrade: $1" install_package "$1"
	claim "another process" eventually 20 another "$old"
	claim "all were closed" survive "$1" 0
	claim "20 new clients" connect 20 1061
	begin "$1"
	claim "are served" finish "$1"
}
another() { state_is penstock.service active && not is "$(pid)" "$1"; }
# explained: boot.sh has put into settings.sh which version of records the package writes.
explained() { logged penstock "records of version ${records:?}, this process reads" | grep " to $((records - 1)):"; }

back ./penstock-older.deb
claim "the log says why" explained
claim "the store is empty" is "$(stored)" 0
if [ -e penstock-0.1.0.deb ]; then
	claim "up again" install_package ./penstock.deb
	back ./penstock-0.1.0.deb
	claim "and up once more" install_package ./penstock.deb
	claim "new clients" eval "survive x 0; connect 20 1061; begin 2"
	claim "are served" finish 2
fi
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
