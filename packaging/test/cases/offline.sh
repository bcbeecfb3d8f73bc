# SPDX-License-Identifier: Apache-2.0
#
# Installed into an image that is not running, penstock listens when the image
# boots, before anybody can connect; and so it does at the next boot.
. ./assert.sh

activated() { property "$1" ActiveEnterTimestampMonotonic; }
before() { [ "$(activated "$1")" -le "$(activated "$2")" ]; }

if [ ! -e /var/lib/test-reboots ]; then
	claim "first boot: target enabled" is "$(systemctl is-enabled penstock.target)" enabled
	claim "user there" getent passwd penstock
else
	claim "second boot" true
fi
claim "target active" state_is penstock.target active
claim "socket active" state_is penstock-lancelot.socket active
claim "service waits for a client" state_is penstock.service inactive
claim "listening before sockets.target" before penstock-lancelot.socket sockets.target
claim "no ordering cycle" is "$(journalctl -b --no-pager -q | grep -i 'ordering cycle')" ""
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
claim "not degraded" is "$(systemctl is-system-running)" running
claim "answers" answers 1060
[ -e /var/lib/test-reboots ] || [ $claims_failed != 0 ] || exit 75
done_claiming
