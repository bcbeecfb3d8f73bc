# SPDX-License-Identifier: Apache-2.0
#
# A broken file at boot: the machine comes up, the journal names file, line and
# key, and the sockets of the other services listen.
. ./assert.sh

# circular: the report is started after basic.target, which waits for
# sockets.target, which waits for the target, which waits for the report.
# systemd then leaves out one of them, not always the same.
circular() {
	property penstock.target After | grep -qw penstock-config-error.service &&
		property penstock-config-error.service After | grep -qw basic.target
}

if [ ! -e /var/lib/test-reboots ]; then
	claim "install" install_package
	printf '\n[service.broken]\nkind = "lookup"\nlisten = ["127.0.0.1:1062"]\nqueue = "lots"\n' >>$config
	[ $claims_failed != 0 ] || exit 75
	done_claiming
fi
line=$(grep -n '^queue' $config | cut -d: -f1)
claim "booted" eval "systemctl is-system-running | grep -E 'running|degraded'"
claim "no circle of ordering" not circular
claim "the journal names the place" logged penstock-config-error.service "$config:$line: service.broken.queue"
claim "the others listen" listens 1060
claim "their socket is active" state_is penstock-lancelot.socket active
sed -i '/^\[service.broken\]/,$d' $config
claim "apply of the mended file" penstock apply
claim "answers" answers 1060
claim "nothing failed any more" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
