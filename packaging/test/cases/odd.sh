# SPDX-License-Identifier: Apache-2.0
#
# Addresses that systemd reads differently from the file, or not at all: apply
# ends with 0 only if each of the file's addresses is served, says what is wrong
# otherwise, and never takes down what works. A bare port takes IPv4 whatever
# the machine's default for IPv6 is.
. ./assert.sh

asks() { printf 'What?' | socat -t $((12 * slow)) - "$1" | grep -F "$2."; }
status_says() { property penstock.service StatusText | grep -F -- "$1"; }
pid() { property penstock.service MainPID; }

# A dummy interface may be missing from the kernel; a pair of veth never is.
interface() { ip link add "$1" type veth peer name "peer$1" && ip -6 addr add fe80::77/64 dev "$1" nodad && ip link set "$1" up && ip link set "peer$1" up; }

claim "install" install_package
sysctl -qw net.ipv6.bindv6only=1
lookup bare '"1062", "[::]:1063"'
claim "apply with bindv6only" penstock apply
claim "a bare port takes IPv4" is "$(ask 1062)" "bare."
claim "and IPv6" asks 'TCP6:[::1]:1062' bare
claim "all addresses of IPv6 are both" is "$(ask 1063)" "bare."
sysctl -qw net.ipv6.bindv6only=0

lookup old '"/var/run/penstock/old.sock"'
claim "apply with /var/run" penstock apply
claim "it answers there" asks UNIX-CONNECT:/var/run/penstock/old.sock old
claim "nothing is degraded" not status_says degraded
before=$(pid)
claim "apply finds nothing to do" penstock apply
claim "and restarts nothing" is "$(pid)" "$before"

# One file in two spellings, the second by way of a link, is served with a
# warning. Clients reach the socket that was bound last; when that one goes, the
# other has the file again.
ln -s /run/penstock /etc/penstock/link
lookup twice '"/etc/penstock/link/old.sock"'
claim "a path in two spellings is applied" eval 'penstock apply >/run/said 2>&1; is $? 0'
claim "with a warning that has both names" grep -F 'service.twice.listen: warning: /etc/penstock/link/old.sock is the same file as /run/penstock/old.sock of service.old; clients reach only one of the two' /run/said
claim "clients reach the newer" asks UNIX-CONNECT:/run/penstock/old.sock twice
sed -i '/^\[service.twice\]/,$d' $config
claim "apply without the newer" penstock apply
claim "clients reach the older" asks UNIX-CONNECT:/run/penstock/old.sock old
claim "in both spellings" asks UNIX-CONNECT:/etc/penstock/link/old.sock old
before=$(pid)
claim "apply finds nothing to do" penstock apply
claim "and restarts nothing" is "$(pid)" "$before"
lookup zone '"[::1]:1064%lo"'
claim "apply with an interface that the kernel ignores" penstock apply
claim "it answers" asks 'TCP6:[::1]:1064' zone
claim "nothing is degraded by it" not status_says degraded
claim "what works goes on" asks UNIX-CONNECT:/run/penstock/old.sock old

# An interface that is missing, beside an address that works and alone.
lookup part '"127.0.0.1:1065", "[fe80::77]:1065%later"'
lookup alone '"[fe80::77]:1066%later"'
claim "a missing interface: status 1" eval 'penstock apply >/run/said 2>&1; is $? 1'
claim "names the first" grep -F 'penstock-part.socket: [fe80::77]:1065%later: there is no network interface later' /run/said
claim "names the second" grep -F 'penstock-alone.socket: [fe80::77]:1066%later: there is no network interface later' /run/said
claim "does not say that all listen" not grep 'sockets listen' /run/said
claim "the address beside it answers" is "$(ask 1065)" "part."
claim "the others do" answers 1060
claim "the status names the service" eventually 10 status_says part
claim "the journal too, with the key" eval "journal -o cat -u penstock | grep 'listener missing' | grep -F service.part.listen"
before=$(pid)
denied "apply once more" penstock apply
claim "restarts nothing" is "$(pid)" "$before"
lines=$(journal | wc -l)
sleep 10
claim "the journal does not fill" below $(($(journal | wc -l) - lines)) 10
claim "daemon-reload" systemctl daemon-reload
claim "restart" systemctl restart penstock.service
claim "an upgrade" install_package ./penstock-next.deb
claim "the address beside it answers still" is "$(ask 1065)" "part."
claim "the others too" answers 1060
claim "the interface comes" interface later
claim "apply as was said" penstock apply
claim "it answers" eventually 5 asks 'TCP6:[fe80::77%later]:1065' part
claim "the other too" asks 'TCP6:[fe80::77%later]:1066' alone
claim "nothing is degraded any more" not status_says degraded
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""

done_claiming
