# SPDX-License-Identifier: Apache-2.0
#
# An installation that was interrupted is finished by `dpkg --configure -a`, and
# doing so once more changes nothing. Going back to the previous version works
# like an upgrade.
. ./assert.sh

repack ./penstock-next.deb broken.deb sed -i '2i[ -e /run/mended ] || exit 1' DEBIAN/postinst

claim "install" install_package
claim "answers" answers 1060
denied "the broken upgrade fails" dpkg -i broken.deb
claim "clients are answered nevertheless" answers 1060
touch /run/mended
claim "finish" dpkg --configure -a
claim "the new version is installed" is "$(dpkg-query -W -f '${Version} ${Status}' penstock)" \
	"$(dpkg-deb -f broken.deb Version) install ok installed"
claim "answers after finishing" answers 1060
claim "once more" dpkg --configure -a
claim "unpacked only" dpkg --unpack ./penstock-next.deb
claim "answers while half installed" answers 1060
claim "configured" dpkg --configure penstock
claim "downgrade" install_package ./penstock.deb
claim "answers after the downgrade" answers 1060
claim "the program is the old one" is "$(penstock version | cut -d' ' -f2)" "$(dpkg-query -W -f '${Version}' penstock)"
claim "the process too" is "$(readlink "/proc/$(property penstock.service MainPID)/exe")" /usr/bin/penstock
claim "same version once more" install_package ./penstock.deb
claim "answers" answers 1060
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
