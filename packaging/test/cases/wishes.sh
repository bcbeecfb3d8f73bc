# SPDX-License-Identifier: Apache-2.0
#
# What the administrator has decided survives an upgrade: an edited
# configuration, a disabled target, a masked one, a policy that forbids starts.
. ./assert.sh

upgrade() { dpkg --force-confdef --force-confold -i "$1" </dev/null; }
# also from a package whose own configuration has changed
repack ./penstock-next.deb changed.deb sed -i 's/Camelot/Camelot, again/' etc/penstock/penstock.toml
name() { ask 1060 'What is your name?'; }

claim "install" install_package
claim "upgrade, file untouched" upgrade changed.deb
claim "the untouched file is replaced" grep -q again $config
claim "downgrade" upgrade ./penstock.deb
claim "the untouched file is replaced again" not grep -q again $config

sed -i 's/Blue/Yellow/' $config
claim "upgrade, file edited" upgrade changed.deb
claim "the edit is kept" grep -q Yellow $config
claim "the new one lies beside it" test -f $config.dpkg-dist
claim "answers" is "$(name)" "My name is Sir Lancelot of Camelot."

systemctl disable -q --now penstock.target
claim "disabled: nothing listens" eventually 5 not listens 1060
claim "upgrade while disabled" upgrade ./penstock-next.deb
claim "still disabled" is "$(systemctl is-enabled penstock.target)" disabled
claim "still inactive" state_is penstock.target inactive
claim "still nothing listens" not listens 1060
claim "removal and installation" eval 'dpkg -r penstock && upgrade ./penstock.deb'
claim "disabled even so" is "$(systemctl is-enabled penstock.target)" disabled

systemctl mask -q penstock.target
claim "upgrade while masked" upgrade ./penstock-next.deb
claim "still masked" is "$(systemctl is-enabled penstock.target)" masked
claim "masked: nothing listens" not listens 1060
systemctl unmask -q penstock.target
systemctl enable -q --now penstock.target
claim "enabled again: answers" answers 1060

pid=$(property penstock.service MainPID)
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
claim "upgrade under policy-rc.d" upgrade ./penstock.deb
claim "the process is the same" is "$(property penstock.service MainPID)" "$pid"
claim "still answers" answers 1060
printf '#!/bin/sh\nexit 105\n' >/usr/sbin/policy-rc.d
claim "upgrade under one that is undecided" upgrade ./penstock-next.deb
claim "the process is another" not is "$(property penstock.service MainPID)" "$pid"
sed -i 's/127.0.0.1:1060/127.0.0.1:1061/' $config
claim "downgrade with a port that was never applied" upgrade ./penstock.deb
claim "it is opened" is "$(ask 1061)" "To seek the Holy Grail."
sed -i 's/127.0.0.1:1061/127.0.0.1:1060/' $config
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
claim "purge under policy-rc.d" dpkg -P penstock
systemctl stop penstock.target 'penstock-*.socket' penstock.service
claim "installation under policy-rc.d" upgrade ./penstock.deb
claim "enabled" is "$(systemctl is-enabled penstock.target)" enabled
claim "not started" not listens 1060
rm /usr/sbin/policy-rc.d
claim "configured a second time" eval "/var/lib/dpkg/info/penstock.postinst configure 0.1.0"
claim "started now" answers 1060
done_claiming
