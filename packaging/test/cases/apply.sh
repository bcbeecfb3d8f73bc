# SPDX-License-Identifier: Apache-2.0
#
# A service is added to, moved in and removed from a running daemon by editing
# the file and `penstock apply`. Clients of the ports that did not change are
# answered all the while, a socket unit that did not change is never closed,
# and what was removed listens no more.
. ./assert.sh

socket_of() { ss -Hltne "sport = :$1" | grep -o 'ino:[0-9]*'; }

claim "install" install_package
claim "answers" answers 1060
kept=$(socket_of 1060)
load 1 1060 &
load 2 1060 &
claim "load" eventually 30 enough 20

claim "apply without a change" penstock apply
lookup added '"127.0.0.1:1062", "/run/penstock/added.sock"'
claim "apply with an added service" penstock apply
claim "the added one answers" is "$(ask 1062)" "added."
claim "its socket is passed" eval "systemctl status penstock.service | grep -F '3 services'"
claim "its unix socket listens" test -S /run/penstock/added.sock
claim "nothing is degraded" not eval "property penstock.service StatusText | grep degraded"

rm /run/penstock/added.sock
claim "apply after somebody has removed a unix socket" penstock apply
claim "its unix socket is back" test -S /run/penstock/added.sock

sed -i 's/127.0.0.1:1062/127.0.0.1:1063/' $config
claim "apply with a moved service" penstock apply
claim "it answers at the new port" is "$(ask 1063)" "added."
denied "not at the old one" listens 1062

sed -i 's/^default = "added."/default = "changed."/' $config
claim "apply with another answer" penstock apply
claim "the new answer" is "$(ask 1063)" "changed."

sed -i '/^\[service.added\]/,$d' $config
claim "apply with a removed service" penstock apply
denied "it listens no more" listens 1063
claim "its unit is gone" not systemctl is-active -q penstock-added.socket
claim "the file of its unix socket is gone" not test -e /run/penstock/added.sock

for n in 1 2 3; do
	lookup "many$n" "\"127.0.0.1:107$n\""
	claim "apply number $n" penstock apply
	claim "it answers" is "$(ask "107$n")" "many$n."
done
unload
claim "the unchanged socket was never closed" is "$(socket_of 1060)" "$kept"
claim "nothing to reload" is "$(property penstock.service NeedDaemonReload)" no
claim "stop" systemctl stop penstock.service
claim "the first answers after a stop" answers 1060
claim "the last too" is "$(ask 1073)" "many3."
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""

# The file in conf.d counts like the main one.
mkdir -p /etc/penstock/conf.d
printf '[service.dropped]\nkind = "lookup"\nlisten = ["127.0.0.1:1064"]\ndelimiter = "?"\ndefault = "dropped."\n' >/etc/penstock/conf.d/10.toml
claim "apply with a drop-in" penstock apply
claim "its service answers" is "$(ask 1064)" "dropped."
claim "while stopped: stop" systemctl stop penstock.service
rm /etc/penstock/conf.d/10.toml
claim "while stopped: apply" penstock apply
denied "while stopped: gone" listens 1064
claim "a unix socket elsewhere" eval "lookup moved '\"/srv/board/one.sock\"'; penstock apply"
claim "listens" test -S /srv/board/one.sock
claim "moved" eval "sed -i 's:/srv/board/one:/srv/board/two:' $config; penstock apply"
claim "listens there" test -S /srv/board/two.sock
claim "and left nothing" not test -e /srv/board/one.sock
claim "restart of the service" systemctl restart penstock.service
claim "leaves the file" test -S /srv/board/two.sock
claim "stop of the target" systemctl stop penstock.target
claim "leaves none" eval "eventually 5 not test -e /srv/board/two.sock && not test -e /run/penstock/lobby.sock"
claim "start of the target" systemctl start penstock.target
claim "it is back" test -S /srv/board/two.sock
claim "while stopped: the others answer" answers 1060
claim "purge" dpkg -P penstock
claim "leaves no socket file" is "$(ls /srv/board)" ""
done_claiming
