# SPDX-License-Identifier: Apache-2.0
# Timeout: 180
#
# A power cut has emptied the configuration: what was applied before goes on
# through a restart, a crash, an upgrade and the next boot, and it is said.
. ./assert.sh

kept=/var/lib/penstock-generator/applied
served=/var/lib/penstock/applied
status_says() { property penstock.service StatusText | grep -F -- "$1"; }
refused="configuration refused, serving what was applied on 2"
both() { is "$(ask 1060)" "To seek the Holy Grail." && is "$(ask 1062)" "added."; }
socket_of() { ss -Hltne "sport = :$1" | grep -o 'ino:[0-9]*'; }

if [ -e /var/lib/test-reboots ]; then
	claim "booted" eval "systemctl is-system-running | grep -E 'running|degraded'"
	claim "no circle of ordering" is "$(journalctl -b --no-pager -q | grep -i 'ordering cycle')" ""
	claim "the port of the package answers, and that which was applied" both
	claim "the Unix socket is there" test -S /run/penstock/lobby.sock
	claim "the status says so" status_says "$refused"
	claim "and names the file" status_says "$config: is empty"
	claim "the journal of this boot names the file" eval "journalctl -b --no-pager -q -u penstock.service | grep -F '$config'"
	claim "in the report as well" eval "journalctl -b --no-pager -q -u penstock-config-error.service | grep -F '$config'"
	claim "with an explanation" eval "journalctl -b --no-pager -q -x -u penstock.service | grep -F 'puts
the mended files in force'"
	denied "check" penstock check
	denied "apply" penstock apply
	claim "both answer still" both
	cp /etc/penstock.kept $config
	inode=$(socket_of 1062)
	claim "apply of the mended file" penstock apply
	claim "both answer" both
	claim "nothing is refused any more" not status_says refused
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
claim "both answer" both
claim "what is served is kept" eventually 10 grep -q service.added $served
claim "for its user alone" is "$(stat -c '%U %a' $served)" "penstock 600"
claim "there is nothing more to keep" not test -e /run/systemd/generator/penstock-keep-units.service
written=$(stat -c %i $kept)
claim "apply once more" penstock apply
claim "writes nothing" is "$(stat -c %i $kept)" "$written"
cp $config /etc/penstock.kept
: >$config

claim "restart with an emptied file" systemctl restart penstock.service
claim "both answer" both
claim "the status says so" status_says "$refused"
claim "a crash" systemctl kill -s KILL penstock.service
claim "both answer" eventually 10 both
denied "reload" systemctl reload penstock.service
claim "the status says so still" status_says "$refused"
claim "an upgrade" install_package ./penstock-next.deb
claim "says that the configuration is refused" grep -F 'configuration refused' /run/dpkg
claim "both answer" both
rm $config
claim "restart without a file" systemctl restart penstock.service
claim "both answer" both
: >$config
chmod 600 $config
claim "restart with a file that cannot be read" systemctl restart penstock.service
claim "both answer" both
chmod 644 $config
head -c 3000000 /dev/zero | tr '\0' '[' >$config
claim "restart with a huge file" systemctl restart penstock.service
claim "both answer" both
: >$config

# As at a boot, in this one.
systemctl stop penstock.target penstock.service
rm -rf /run/penstock
systemctl daemon-reload
systemctl start penstock.target
claim "as at a boot: both answer" both

# A copy that is damaged as well is no help, and harms nobody.
cp $served /run/served
head -c 100 /run/served >$served
systemctl stop penstock.service
(ask 1060 >/run/waited) &
claim "a damaged copy: the journal names it" eventually 10 logged penstock "$served: is damaged"
cp /run/served $served
claim "who waited is answered" eventually 30 grep -q Grail /run/waited
wait
[ $claims_failed != 0 ] || exit 75
done_claiming
