# SPDX-License-Identifier: Apache-2.0
#
# A flood of clients that connect, say nothing or hang up neither stops the
# service nor its sockets, and the descriptors that a client holds back come
# free again.
. ./assert.sh

claim "install" install_package
claim "answers" answers 1060
before=$(starts)
for _ in $(seq 3000); do connects 1060; done
claim "answers after a flood" answers 1060

# More silent clients than one address may have: the rest is refused, and
# served again when they leave.
cat >/run/hold.sh <<-'END'
	for n in $(seq 100); do exec {fd}<>/dev/tcp/127.0.0.1/1060; done
	touch /run/held
	exec sleep 600
END
bash /run/hold.sh &
holder=$!
claim "a hundred silent clients" eventually 20 test -e /run/held
claim "one more of them is refused" eventually 10 eval "journal -o cat -t penstock REASON=per_source | grep -q ."
claim "the other service answers" listens 51423
{ kill $holder && wait $holder; } 2>/dev/null
claim "served when they have left" eventually 10 answers 1060

claim "the service was not started again" is "$(starts)" "$before"
claim "sockets live" state_is penstock-lancelot.socket active
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
