# SPDX-License-Identifier: Apache-2.0
#
# A log file to many, inside the sandbox: its group opens it (SupplementaryGroups=), it is
# followed through rotations as logrotate makes them, by rename and by copytruncate, and
# over a restart, and each client has each line once. The service runs from the boot on.
. ./assert.sh

log=/var/log/app.log
made() { install -m 0640 -o root -g adm /dev/null "$1"; }
declare -A socket
client() {
	local fd
	exec {fd}<>/dev/tcp/127.0.0.1/1301 || return 1
	socket[$1]=$fd
	cat <&"$fd" >"/run/tail.$1" &
}
wanted=
says() {
	printf '%s\n' "$@" >>$log
	wanted+=$(printf '%s\n' "$@")$'\n'
}
exact() { cmp "/run/tail.$1" <(printf %s "$wanted"); }
all_exact() { exact a && exact b; }

claim "install" install_package
made $log
printf 'old %s\n' 1 2 3 >>$log
mkdir -p /etc/penstock/conf.d
cat >/etc/penstock/conf.d/50-tail.toml <<-END
	[service.log]
	kind    = "tail"
	listen  = ["127.0.0.1:1301"]
	file    = "$log"
	history = 2
END
claim "apply" penstock apply
claim "the service runs before anybody comes" state_is penstock.service active
claim "in the group of logs" eval "property penstock.service SupplementaryGroups | grep -qw adm"
denied "its user can read the file without" runuser -u penstock -- cat $log
claim "a client" client a
wanted=$'old 2\nold 3\n'
claim "gets the last lines" eventually 10 exact a
claim "another one" client b
claim "the same" eventually 10 all_exact
says "line 1" "line 2"
claim "lines that come" eventually 10 all_exact

# logrotate's "create": the program goes on with the old file until it is told.
mv $log $log.1
printf 'to the old one\n' >>$log.1
wanted+=$'to the old one\n'
made $log
says "to the new one"
claim "rotation by rename: the rest of the old file, then the new one" eventually 10 all_exact

# logrotate's "copytruncate".
cp $log $log.1
: >$log
says "after the truncation"
claim "rotation by copytruncate" eventually 10 all_exact

# Again and again, with lines in between. Each file has the name until it is followed: one
# that came and went between two looks could not be read.
rotations() {
	local round
	for round in 1 2 3 4 5 6 7 8; do
		says "round $round"
		mv $log $log.1
		made $log
		says "round $round, new"
		eventually 20 all_exact || return
	done
}
claim "eight rotations in a row" rotations
denied "a file that was missed" logged penstock.service "came and went unread"

says "before the restart"
claim "restart" systemctl restart penstock.service
says "after the restart"
claim "a restart loses nothing" eventually 10 all_exact

# A file that nobody of the service's groups can read is named.
chmod 0600 $log
mv $log $log.1
install -m 0600 /dev/null $log
claim "a file that cannot be read is named in the log" eventually 20 logged penstock.service "permission denied"
rm -f $log
made $log
says "and readable again"
claim "it goes on when it can" eventually 30 all_exact
mapfile -t jobs < <(jobs -p)
kill "${jobs[@]}"
done_claiming
