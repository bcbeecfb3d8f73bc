# SPDX-License-Identifier: Apache-2.0
#
# A port that another program holds takes down its own socket only. The others
# are served, status and journal name it, and when it is free again it comes
# back: by itself, or at the latest by `penstock apply`.
. ./assert.sh

# On all addresses, as most programs do.
socat TCP-LISTEN:1062,fork,reuseaddr SYSTEM:'echo other.' &
squatter=$!
claim "somebody holds the port" eventually 5 listens 1062

claim "install" install_package
lookup taken '"127.0.0.1:1062"'
systemctl daemon-reload
systemctl stop penstock.target 'penstock-*.socket' penstock.service
systemctl start penstock.target
claim "the others answer" answers 1060
claim "the taken one failed alone" eventually 10 not systemctl is-active -q penstock-taken.socket
claim "the status names it" eventually 10 eval "property penstock.service StatusText | grep taken"
denied "apply reports it" penstock apply
claim "apply names it" eval "penstock apply 2>&1 | grep taken"
claim "the others answer still" answers 1060
pid=$(property penstock.service MainPID)
denied "apply reports it again" penstock apply
claim "without a restart of what runs" is "$(property penstock.service MainPID)" "$pid"
before=$(journal | wc -l)
sleep 10
claim "the journal does not fill" below $(($(journal | wc -l) - before)) 10

systemctl stop penstock.service
{ kill $squatter && wait $squatter; } 2>/dev/null
claim "without the daemon it comes back by itself" eventually 20 systemctl is-active -q penstock-taken.socket
claim "it answers" is "$(ask 1062)" "taken."

# The same while the daemon runs: the new socket has to be passed to it.
systemctl stop penstock.target 'penstock-*.socket' penstock.service
socat TCP-LISTEN:1062,bind=127.0.0.1,fork,reuseaddr SYSTEM:'echo other.' &
squatter=$!
claim "held again" eventually 5 listens 1062
systemctl start penstock.target
claim "the others answer as before" answers 1060
{ kill $squatter && wait $squatter; } 2>/dev/null
claim "apply brings it back" penstock apply
claim "it answers again" is "$(ask 1062)" "taken."
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
