# SPDX-License-Identifier: Apache-2.0
#
# With exit_idle a daemon without clients ends, its sockets stay, and the next
# client starts it again. Nobody is lost, not even who comes while it ends; and
# the coming and going does not trip systemd's limits.
. ./assert.sh

claim "install" install_package
cat >>$config <<-END

	[limits]
	exit_idle = "1s"
END
claim "answers" answers 1060
claim "it ends" eventually 10 state_is penstock.service inactive
claim "without an error" is "$(property penstock.service Result)/$(property penstock.service ExecMainStatus)" success/0
claim "the socket stays" state_is penstock-lancelot.socket active
claim "the next client is answered" answers 1060

exec 7<>/dev/tcp/127.0.0.1/51423
sleep 3
claim "it does not end while a client is there" state_is penstock.service active
exec 7>&-

# Clients at every moment around the end: each waits a little longer or shorter
# than the daemon's patience.
for pause in 0.9 0.95 0.98 0.99 1.0 1.0 1.01 1.02 1.03 1.05 1.1 1.2 1.0 1.0 1.0; do
	sleep $pause
	[[ $(ask 1060) == "To seek the Holy Grail." ]] || echo "after $pause s" >>/run/lost
done
claim "nobody was lost" not test -s /run/lost
claim "it has ended and started several times" below 3 "$(starts)"

# Who waits at a socket that no service wants does not have it start each second.
printf '[Socket]\nListenStream=127.0.0.1:1070\nService=penstock.service\n' >/etc/systemd/system/penstock-strange.socket
systemctl daemon-reload
claim "it has ended" eventually 10 state_is penstock.service inactive
systemctl start penstock-strange.socket
before=$(starts)
exec 7<>/dev/tcp/127.0.0.1/1070
sleep 10
claim "started once for who waits at a strange socket" is $(($(starts) - before)) 1
exec 7>&-
systemctl stop penstock-strange.socket
rm /etc/systemd/system/penstock-strange.socket
systemctl daemon-reload

claim "sockets live" state_is penstock-lancelot.socket active
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
