# SPDX-License-Identifier: Apache-2.0
#
# A file that a power cut has emptied, that is huge, deep or a FIFO: whatever is
# done then, the ports that were applied are served or at least held, it is
# reported, and the generator is done in a moment. So it is after a boot.
. ./assert.sh

socket_of() { ss -Hltne "sport = :$1" | grep -o 'ino:[0-9]*'; }
generator=/usr/lib/systemd/system-generators/penstock-generator
generate() {
	rm -rf /run/out
	mkdir -p /run/out/{normal,early,late}
	$generator /run/out/normal /run/out/early /run/out/late
}

if [ -e /var/lib/test-reboots ]; then
	claim "the machine is up" eval "systemctl is-system-running | grep -E 'running|degraded'"
	claim "this boot's journal names the file" eval "journalctl -b --no-pager -q -u penstock-config-error.service | grep -F '$config'"
	claim "answers all the same" answers 1060
	cp /etc/penstock.kept $config
	claim "apply of the mended file" penstock apply
	claim "answers" answers 1060
	claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
	done_claiming
fi

claim "install" install_package
claim "answers" answers 1060
cp $config /etc/penstock.kept
inode=$(socket_of 1060)

# unharmed WHAT: with the file as it is now, nothing that anybody does costs a
# port, and everything says so.
unharmed() {
	local took
	denied "$1: check" penstock check
	claim "$1: apply" eval 'penstock apply >/run/said 2>&1; is $? 78'
	claim "$1: it names the file" grep -F $config /run/said
	claim "$1: the generator" generate
	claim "$1: it keeps what was applied" cmp /run/out/normal/penstock-lancelot.socket /run/penstock/applied/penstock-lancelot.socket
	took=$(cpu_time generate)
	echo "     $1: $took ms"
	claim "$1: in a moment" below "$took" $((2000 * slow))
	claim "$1: daemon-reload" systemctl daemon-reload
	denied "$1: reload" systemctl reload penstock.service
	claim "$1: answers" answers 1060
	claim "$1: the socket is the same" is "$(socket_of 1060)" "$inode"
	systemctl start penstock-config-error.service
	claim "$1: the journal names the file" eval "journal -o cat -u penstock-config-error.service --since=-20s | grep -F '$config'"
}

: >$config
unharmed emptied
printf '# nothing\n[limits]\nconnections = 7\n' >$config
unharmed "without services"
head -c 3000000 /dev/zero | tr '\0' '[' >$config
unharmed huge
{ printf 'a = '; head -c 200000 /dev/zero | tr '\0' '['; } >$config
unharmed deep
{ head -c 20000 /dev/zero | sed 's/\x0/a./g'; echo 'a = 1'; } >$config
unharmed dotted
rm $config
mkfifo $config
unharmed FIFO
rm $config

: >$config
claim "an upgrade with an emptied file" install_package ./penstock-next.deb
claim "answers still" answers 1060
systemctl restart penstock.service
claim "answers after a restart" answers 1060
claim "the journal says why" eval "journal -o cat -u penstock --since=-20s | grep -F '$config'"

# Without a copy of what was served the clients wait.
systemctl stop penstock.service
rm /var/lib/penstock/applied
(ask 1060 >/run/waited) &
claim "without a copy: the journal says why" eventually 10 eval "journal -o cat -u penstock --since=-5s | grep -F '$config'"
claim "the socket is held" is "$(socket_of 1060)" "$inode"
cp /etc/penstock.kept $config
claim "mended: who waited is answered" eventually 20 grep -q Grail /run/waited
wait
claim "the socket was never closed" is "$(socket_of 1060)" "$inode"

: >$config
[ $claims_failed != 0 ] || exit 75
done_claiming
