# SPDX-License-Identifier: Apache-2.0
#
# A journal that does not take anything holds up nobody: clients are answered,
# the watchdog is fed, the processor is left alone, and afterwards the journal
# learns how much it has missed.
. ./assert.sh

# burned prints the milliseconds of processor time the daemon has used.
burned() { awk '{ print int($1 / 1000000) }' "/proc/$pid/schedstat"; }

claim "install" install_package
mkdir -p /etc/systemd/system/penstock.service.d
printf '[Service]\nWatchdogSec=3s\n' >/etc/systemd/system/penstock.service.d/test.conf
systemctl daemon-reload
cat >>$config <<-END

	[log]
	level = "debug"
END
claim "answers" answers 1060
pid=$(property penstock.service MainPID)
journal=$(systemctl show -P MainPID systemd-journald.service)
kill -STOP "$journal"
before=$(burned)
bad=0
for _ in $(seq 400); do [[ $(ask 1060) == "To seek the Holy Grail." ]] || bad=$((bad + 1)); done
sleep 5
spent=$(($(burned) - before))
kill -CONT "$journal"
echo "     $spent ms of processor time for 400 clients and 5 s"
claim "every client was answered" is $bad 0
claim "no spinning" below "$spent" $((1500 * slow))
claim "the same process" is "$(property penstock.service MainPID)" "$pid"
claim "answers afterwards" answers 1060
done_claiming
