# SPDX-License-Identifier: Apache-2.0
#
# Clients of all kinds talk all the time while the service restarts, is upgraded and
# reads its files again. None of them is closed, and none gets a wrong byte. What
# RLIMIT_NOFILE does not hold is closed, and all others are not.
. ./assert.sh
. ./clients.sh

claim "install" install_package
crowd_services
relays
claim "apply" penstock apply
crowd "$clients" 8 4
claim "$clients clients" served 0

# again TEXT COMMAND... starts the next process in some way.
again() {
	local old text=$1
	old=$(pid)
	shift
	claim "$text" "$@"
	claim "another process, and an empty store" eventually 20 running "$old"
	claim "nobody was closed, and every byte came" served 0
	echo "     $text: longest wait of $clients clients $pause ms"
}
apt_install() { DEBIAN_FRONTEND=noninteractive apt-get install -y ./penstock-next.deb; }
# A restart begins while another one is under way, at any moment of it.
often() {
	local n
	for n in {1..10}; do
		systemctl restart --no-block penstock.service || return
		sleep 0.03
	done
	systemctl restart penstock.service
}
again "restart" systemctl restart penstock.service
again "upgrade by apt" apt_install
again "many restarts at once" often
again "one more" systemctl restart penstock.service

# reread TEXT COMMAND... has the same process read its files again.
reread() {
	local old text=$1
	old=$(pid)
	shift
	claim "$text" "$@"
	claim "by the same process" is "$(pid)" "$old"
	claim "nobody was closed, and every byte came" served 0
	echo "     $text: longest wait of $clients clients $pause ms"
}
sed -i 's/^q0 = .*/& # changed/; $aq100 = "a100."' /etc/penstock/table.toml
sed -i 's/^message = .*/&\nqueue = "32KiB"/' /etc/penstock/conf.d/50-crowd.toml
reread "reload" systemctl reload penstock.service
claim "the new answer" is "$(ask 1062 'q100?')" "a100."
lookup other '"127.0.0.1:1065"'
again "apply" penstock apply

override "ExecStartPre=+/bin/sleep 2"
again "a slow start" systemctl restart penstock.service
# Less than the two seconds: a client waits from its own message on, which may come late.
denied "which they felt" below "$pause" 1000

# Room for fewer of them. All are served when there is room again.
disperse
crowd "$clients"
claim "$clients clients" served 0
override "LimitNOFILE=$((clients / 2 + 50))"
old=$(pid)
claim "restart with a low limit" systemctl restart penstock.service
claim "another process, and an empty store" eventually 20 running "$old"
closed=$(journal -o json -t penstock REASON=handover_incomplete | grep -o '"CONNS":"[0-9]*"' |
	awk -F '"' '{ n += $4 } END { print n + 0 }')
echo "     a low limit: $closed of $clients do not fit"
claim "some fit" below "$closed" $((clients / 2 + 50))
denied "and some do not" is "$closed" 0
override
claim "restart with the usual limit" systemctl restart penstock.service
claim "those were closed, and all are served" served "$closed"

claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
