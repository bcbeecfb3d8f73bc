# SPDX-License-Identifier: Apache-2.0
#
# penstock-mqtt is a package of its own: it runs where the file has a broker and a service
# that names it, in a sandbox whose only way out is that broker; it says why it is not
# connected, publishes when it is, comes back when it is killed, and goes with the file's
# last word of it.
. ./assert.sh

has() { "${@:2}" | tee /run/answer | grep -F -- "$1" || { cut -c -200 /run/answer; return 1; }; }
file=/etc/penstock/conf.d/50-mqtt.toml unit=penstock-mqtt.service
mkdir -p /etc/penstock/conf.d
cat >$file <<-'END'
	[mqtt]
	broker = "mqtt://127.0.0.1:1883"
	board  = "bench"
	[service.beat]
	kind     = "ticker"
	listen   = ["127.0.0.1:1402"]
	interval = "100ms"
	payload  = "still here\n"
	mqtt     = { publish = "{host}/{service}", qos = 0 }
END
main() { property $unit MainPID; }

claim "install" install_package
claim "check says what is missing" has "penstock-mqtt" sh -c 'penstock check 2>&1'
claim "apply without the program" penstock apply
denied "has nothing to start" systemctl cat $unit
claim "install the program" install_package ./penstock-mqtt.deb
claim "it runs" eventually 20 state_is $unit active
claim "and the daemon, for nobody has to come first" eventually 20 state_is penstock.service active
claim "it says why it is not connected" eventually 20 has "not connected" penstock status
claim "its only way out is the broker" has "127.0.0.1" property $unit IPAddressAllow
denied "its user is not the daemon's" is "$(property $unit UID)" "$(id -u penstock)"

play_broker
claim "it connects" eventually 40 grep -qa MQTT /run/broker/heard
claim "and publishes" eventually 40 grep -qa "bench/beatstill here\|bench/beat.*still here" /run/broker/heard
claim "the status says so" eventually 20 has "connected to mqtt://127.0.0.1:1883" penstock status
before=$(main)
kill -KILL "$before"
again() { local now && now=$(main) && [ "$now" != 0 ] && [ "$now" != "$before" ]; }
claim "killed, it comes back" eventually 20 again
before=$(main)
claim "an upgrade" install_package ./penstock-mqtt.deb
claim "is a new process" eventually 20 again
kill %1

sed -i 's/127.0.0.1:1883/broker.example/' $file
claim "apply another broker" penstock apply
claim "a name may be anywhere" has "0.0.0.0/0" property $unit IPAddressAllow
sed -i '/^mqtt /d; /^\[mqtt\]/,/^board/d' $file
claim "apply without a broker" penstock apply
claim "ends it" eventually 20 state_is $unit inactive
claim "purge" dpkg -P penstock-mqtt
denied "leaves no state" ls -d /var/lib/private/penstock-mqtt
claim "the daemon's services go on" answers 1060
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
