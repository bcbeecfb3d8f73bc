# SPDX-License-Identifier: Apache-2.0
#
# A service whose source is heard from the boot on: the target starts it, without a client
# and without a circle of ordering, and the device need not be there. With start = "client"
# it waits for somebody.
. ./assert.sh

if [ -e /var/lib/test-reboots ]; then
	case $(wc -l </var/lib/test-reboots) in
	1)
		claim "it runs after a boot" eventually 20 state_is penstock.service active
		claim "no circle of ordering" is "$(journalctl -b --no-pager -q | grep -i 'ordering cycle')" ""
		claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
		claim "its sockets were there before" test -n "$(property penstock.service TriggeredBy)"
		exec {fd}<>/dev/tcp/127.0.0.1/1401
		IFS= read -r -t $((10 * slow)) -u "$fd" line
		claim "a client gets what was said before it came" is "$line" "said at boot"
		claim "stop" systemctl stop penstock.service
		claim "it stays so until somebody comes" state_is penstock.service inactive
		sed -i 's/"boot"/"client"/' /etc/penstock/conf.d/50-boot.toml
		claim "apply" penstock apply
		claim "nobody starts it" state_is penstock.service inactive
		[ $claims_failed = 0 ] || done_claiming
		exit 75
		;;
	*)
		claim "with start = client it does not run after a boot" state_is penstock.service inactive
		claim "the socket is there" listens 1401
		claim "a client starts it" connects 1401
		claim "then it runs" eventually 10 state_is penstock.service active
		done_claiming
		;;
	esac
fi
claim "install" install_package
denied "it runs" state_is penstock.service active
mkdir -p /etc/penstock/conf.d
cat >/etc/penstock/conf.d/50-boot.toml <<-'END'
	[service.source]
	kind    = "bridge"
	listen  = ["127.0.0.1:1401"]
	command = ["/bin/sh", "-c", "echo said at boot; exec sleep 1000"]
	history = 5
	start   = "boot"
	[service.away]
	kind    = "bridge"
	listen  = ["127.0.0.1:1402"]
	device  = "/dev/serial/by-id/usb-none"
	start   = "boot"
END
claim "apply" penstock apply
claim "apply has started it" state_is penstock.service active
claim "the default is the same" eval "sed -i '/^start/d' /etc/penstock/conf.d/50-boot.toml && penstock apply && state_is penstock.service active"
sed -i 's/^device.*/&\nstart = "boot"/; s/^history.*/&\nstart = "boot"/' /etc/penstock/conf.d/50-boot.toml
claim "apply" penstock apply
[ $claims_failed = 0 ] || done_claiming
exit 75
