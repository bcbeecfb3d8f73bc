# SPDX-License-Identifier: Apache-2.0
#
# A broken file: what worked goes on working, what is tried fails with file,
# line and key, and a client that waits does not make systemd spin. Mended, it
# works again without anything being reset.
. ./assert.sh

broken() { printf '\n[service.broken]\nkind = "lookup"\nlisten = ["127.0.0.1:1062"]\nqueue = "lots"\n' >>$config; }
mend() { sed -i '/^\[service.broken\]/,$d' $config; }

claim "install" install_package
claim "answers" answers 1060
broken
line=$(grep -n '^queue' $config | cut -d: -f1)
denied "check fails" penstock check
claim "with the place" eval "penstock check 2>&1 | grep -F '$config:$line: service.broken.queue'"
denied "apply fails" penstock apply
claim "with the place too" eval "penstock apply 2>&1 | grep -F '$config:$line: service.broken.queue'"
claim "apply exits 78" eval 'penstock apply; is $? 78'
claim "the others go on" answers 1060
systemctl daemon-reload
claim "after a daemon-reload as well" answers 1060
claim "the socket lives" state_is penstock-lancelot.socket active
systemctl start penstock-config-error.service
claim "the journal names the place" logged penstock-config-error.service "$config:$line: service.broken.queue"

systemctl restart penstock.service
claim "a restart: the others go on" answers 1060

# Where nothing is kept that could be served the clients wait.
systemctl stop penstock.service
rm /var/lib/penstock/applied
before=$(starts)
(ask 1060 >/run/waited) &
sleep 40
count=$(($(starts) - before))
echo "     $count starts in 40 s with a bad file and a client waiting"
claim "fewer starts as time goes on" below "$count" 16
claim "the socket still lives" state_is penstock-lancelot.socket active
claim "the journal of the service names the place" eval "journal -o cat -u penstock | grep -F '$line' | grep -F service.broken.queue"
mend
systemctl daemon-reload
claim "mended: answers without a reset" eventually 20 answers 1060
claim "apply" penstock apply
wait
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""

# A mistake may be blamed on the wrong service: here on the one that has been
# there before. Nothing about its socket may change at the daemon-reloads.
inode=$(ss -Hltne 'sport = :1060' | grep -o 'ino:[0-9]*')
lookup broken '"127.0.0.1:1060"'
claim "the mistake is blamed on the other" eval "penstock check 2>&1 | grep -F service.lancelot.listen"
claim "daemon-reload" systemctl daemon-reload
echo 'no TOML [' >>$config
claim "daemon-reload without TOML" systemctl daemon-reload
claim "the socket is loaded still" is "$(property penstock-lancelot.socket LoadState)" loaded
mend
systemctl daemon-reload
systemctl stop penstock.service
claim "mended: answers without apply" answers 1060
claim "its socket was never closed" is "$(ss -Hltne 'sport = :1060' | grep -o 'ino:[0-9]*')" "$inode"

broken
claim "an upgrade with a bad file" install_package ./penstock-next.deb
claim "leaves what runs" answers 1060
claim "and says so" grep -q 'configuration refused' /run/dpkg
mend
done_claiming
