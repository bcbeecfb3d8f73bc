# SPDX-License-Identifier: Apache-2.0
# Timeout: 180
#
# A power cut has emptied the configuration: what was applied before is what
# the next boot listens on.
. ./assert.sh

kept=/var/lib/penstock-generator/applied
socket_of() { ss -Hltne "sport = :$1" | grep -o 'ino:[0-9]*'; }

if [ -e /var/lib/test-reboots ]; then
	claim "booted" eval "systemctl is-system-running | grep -E 'running|degraded'"
	claim "no circle of ordering" is "$(journalctl -b --no-pager -q | grep -i 'ordering cycle')" ""
	claim "the port of the package listens" listens 1060
	claim "and that which was applied" listens 1062
	claim "and the Unix socket" test -S /run/penstock/lobby.sock
	claim "the journal of this boot names the file" eval "journalctl -b --no-pager -q -u penstock-config-error.service | grep -F '$config'"
	cp /etc/penstock.kept $config
	inode=$(socket_of 1062)
	claim "apply of the mended file" penstock apply
	claim "answers" answers 1060
	claim "the applied one answers" is "$(ask 1062)" "added."
	claim "its socket is the same" is "$(socket_of 1062)" "$inode"
	claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
	done_claiming
fi

claim "install" install_package
claim "its units are kept for the next boot" eventually 20 grep -q 'ListenStream=127.0.0.1:1060' $kept
claim "by root, in a folder of root" is "$(stat -c '%U %a' $kept ${kept%/*} | tr '\n' ' ')" "root 644 root 755 "
claim "without an error" is "$(property penstock-keep-units.service Result)" success
lookup added '"127.0.0.1:1062"'
claim "apply" penstock apply
claim "those are kept, too" grep -q 'ListenStream=127.0.0.1:1062' $kept
claim "the applied one answers" is "$(ask 1062)" "added."
claim "there is nothing more to keep" not test -e /run/systemd/generator/penstock-keep-units.service
written=$(stat -c %i $kept)
claim "apply once more" penstock apply
claim "writes nothing" is "$(stat -c %i $kept)" "$written"
cp $config /etc/penstock.kept
: >$config

# As at a boot, in this one.
systemctl stop penstock.target penstock.service
rm -rf /run/penstock
systemctl daemon-reload
systemctl start penstock.target
claim "listens" listens 1060
claim "the applied one does" listens 1062
[ $claims_failed != 0 ] || exit 75
done_claiming
