# SPDX-License-Identifier: Apache-2.0
#
# A file that the service's user cannot read is named, in the journal and by
# the command; clients are not lost meanwhile.
. ./assert.sh

claim "install" install_package
claim "answers" answers 1060
chmod 0600 $config
denied "reload fails" systemctl reload penstock.service
claim "the journal names the file" eventually 5 eval "journal -o cat -u penstock | grep -F '$config' | grep -i 'permission denied'"
claim "the old configuration stays" answers 1060
denied "apply refuses what the service could not read" penstock apply
claim "and names the file" eval "penstock apply 2>&1 | grep -F '$config'"
chmod 0644 $config
claim "mended" systemctl reload penstock.service

chmod 0700 /etc/penstock
systemctl restart penstock.service
claim "a restart: answers" answers 1060
systemctl stop penstock.service
rm /var/lib/penstock/applied
(ask 1060 >/run/waited) &
claim "start: the journal names it" eventually 20 eval "journal -o cat -u penstock --since=-20s | grep -iE 'permission denied'"
chmod 0755 /etc/penstock
claim "it starts when mended" eventually 20 answers 1060
wait
claim "the client that waited was answered" grep -q Grail /run/waited

pid=$(property penstock.service MainPID)
claim "only root may read it" chmod 600 $config
claim "an upgrade" install_package ./penstock-next.deb
claim "says whom it was refused to" grep -q "permission denied" /run/dpkg
claim "and leaves what runs" is "$(property penstock.service MainPID)" "$pid"
claim "which answers" answers 1060
claim "mended once more" chmod 644 $config

# State is not needed to serve.
systemctl stop penstock.service
chown root:root /var/lib/penstock
chmod 0500 /var/lib/penstock
claim "a folder of state that is not its own does no harm" answers 1060
done_claiming
