# SPDX-License-Identifier: Apache-2.0
#
# A file that the service cannot see, although root and its user can: neither
# apply nor an upgrade takes down what works for it; both name the file. A
# drop-in of the unit that opens the folder makes it right.
. ./assert.sh

service() { printf '[service.%s]\nkind = "lookup"\nlisten = ["127.0.0.1:%s"]\ndelimiter = "?"\ndefault = "%s."\n' "$1" "$2" "$1"; }
pid() { property penstock.service MainPID; }
# untouched STATUS: apply ends with the status and has touched nothing.
untouched() {
	penstock apply >/run/said 2>&1
	is "$? $(pid)" "$1 $before" && answers 1060 && not listens 1062
}

claim "install" install_package
claim "answers" answers 1060
before=$(pid)
mkdir -p /home/board /etc/penstock/conf.d
chmod 755 /home/board

# Of the kinds of files: a table, a drop-in, the folder of drop-ins, all by link.
printf '"What?" = "table."\n' >/home/board/table.toml
service table 1062 >/etc/penstock/conf.d/10.toml
echo 'file = "/home/board/table.toml"' >>/etc/penstock/conf.d/10.toml
claim "root sees the table" penstock check
claim "so does the user" setpriv --reuid=penstock --regid=penstock --clear-groups penstock check
denied "the service does not" penstock check -s
claim "apply refuses a hidden table" untouched 78
claim "and names file and key" grep -F '/etc/penstock/conf.d/10.toml:6: service.table.file: read /home/board/table.toml' /run/said
claim "an upgrade" install_package ./penstock-next.deb
claim "says it too" grep -F /home/board/table.toml /run/dpkg
claim "and leaves what runs" is "$(pid)" "$before"
claim "which answers" answers 1060

service linked 1062 >/tmp/linked.toml
ln -sf /tmp/linked.toml /etc/penstock/conf.d/10.toml
claim "root sees the drop-in" penstock check
claim "apply refuses a hidden drop-in" untouched 78
claim "and names it" grep -F /etc/penstock/conf.d/10.toml /run/said
rm -r /etc/penstock/conf.d
mkdir /tmp/conf.d
mv /tmp/linked.toml /tmp/conf.d/
ln -s /tmp/conf.d /etc/penstock/conf.d
claim "root sees the folder" eval "penstock check | grep -F '3 services'"
claim "apply refuses a hidden folder" untouched 78
rm /etc/penstock/conf.d
mv $config /home/board/penstock.toml
ln -s /home/board/penstock.toml $config
claim "apply refuses a hidden main file" untouched 78
claim "and names that" grep -F $config /run/said

# The administrator opens the folder.
mkdir -p /etc/systemd/system/penstock.service.d
printf '[Service]\nProtectHome=read-only\n' >/etc/systemd/system/penstock.service.d/home.conf
systemctl daemon-reload
lookup seen '"127.0.0.1:1062"'
claim "apply once it is open" penstock apply
claim "answers" is "$(ask 1062)" "seen."
claim "the others too" answers 1060
claim "nothing is left of the checks" is "$(find /run/systemd/system /run/penstock -name '*check*'; systemctl list-units --all --plain --no-legend 'penstock-check*')" ""

# A unit that cannot be started at all is found out as well.
printf '[Service]\nBindPaths=/nowhere\n' >/etc/systemd/system/penstock.service.d/bind.conf
systemctl daemon-reload
before=$(pid)
denied "apply with a unit that would not start" penstock apply
claim "leaves what runs" is "$(pid)" "$before"
claim "which answers" answers 1060
rm /etc/systemd/system/penstock.service.d/bind.conf
systemctl daemon-reload
claim "mended" penstock apply
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
