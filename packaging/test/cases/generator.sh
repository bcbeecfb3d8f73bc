# SPDX-License-Identifier: Apache-2.0
#
# The generator never fails the boot and costs milliseconds: with many
# services, with an emptied file, without the file, with one that is no TOML at
# all; and `penstock units` prints what it writes.
. ./assert.sh

generator=/usr/lib/systemd/system-generators/penstock-generator
generate() {
	rm -rf /run/out
	mkdir -p /run/out/{normal,early,late}
	$generator /run/out/normal /run/out/early /run/out/late
}
# said prints every line of a unit folder, with the file's name before it.
said() { (cd "$1" && grep -r '' . | sort); }

claim "install" install_package
claim "generate" generate
claim "a unit for each service" is "$(cd /run/out/normal && echo *.socket)" "penstock-lancelot.socket penstock-lobby.socket"
claim "nothing elsewhere" is "$(find /run/out/early /run/out/late -type f)" ""
claim "systemd has the same" eval "diff -r /run/out/normal <(:) >/dev/null; cmp /run/out/normal/penstock-lancelot.socket /run/systemd/generator/penstock-lancelot.socket"
claim "no permission is too wide" is "$(find /run/out -type f -perm /022)" ""
penstock units >/run/units
claim "units prints every line" eval "cat /run/out/normal/*.socket | grep -v '^$' | sort -u | while read -r l; do grep -qF -- \"\$l\" /run/units || exit 1; done"

for n in $(seq 200); do lookup "n$n" "\"127.0.0.1:$((2000 + n))\""; done
claim "generate for 200 services" generate
took=$(cpu_time generate)
echo "     $took ms for 202 services"
claim "in a moment" below "$took" $((500 * slow))
claim "all are there" is "$(find /run/out/normal -name '*.socket' | wc -l)" 202
claim "apply" penstock apply
claim "the last answers" is "$(ask 2200)" "n200."
claim "the first too" answers 1060

: >$config
claim "an emptied file" generate
claim "what was applied stays" is "$(find /run/out/normal -name '*.socket' | wc -l)" 202
claim "the mistake has a unit" test -e /run/out/normal/penstock-config-error.service
rm -r /run/penstock/applied
rm -rf /var/lib/penstock-generator
claim "an emptied file, and nothing was applied" generate
claim "no socket" is "$(find /run/out/normal -name '*.socket')" ""
claim "its mistake has a unit" test -e /run/out/normal/penstock-config-error.service
echo 'this is no TOML [' >$config
claim "no TOML" generate
claim "the error has a unit" test -e /run/out/normal/penstock-config-error.service
rm $config
claim "no file" generate
claim "daemon-reload" systemctl daemon-reload
claim "not degraded by that" not eval "systemctl --failed --no-legend | grep -i generator"
rm -rf /etc/penstock
claim "no folder" generate
claim "a folder that cannot be written" eval "$generator /proc/nowhere /proc/nowhere /proc/nowhere; [ \$? -lt 126 ]"
done_claiming
