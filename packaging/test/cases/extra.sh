# SPDX-License-Identifier: Apache-2.0
#
# Descriptors that the configuration knows nothing of do not stop the service:
# they are closed, told of, and the rest is served. Another unit that shares a
# socket, and thereby makes it blocking, does not stop the loop.
. ./assert.sh

claim "install" install_package
cat >/etc/systemd/system/penstock-strange.socket <<-END
	[Socket]
	ListenStream=127.0.0.1:1062
	ListenDatagram=127.0.0.1:1063
	ListenFIFO=/run/strange.fifo
	ListenSequentialPacket=/run/strange.seq
	Service=penstock.service
END
systemctl daemon-reload
systemctl start penstock-strange.socket
claim "the activating client is answered" answers 1060
claim "the stray stream is told of" eventually 10 eval "journal -o cat -t penstock MESSAGE_ID=940bb34f95b94ebab7b67e58665acc79 | grep -F 127.0.0.1:1062"
claim "the datagram socket too" below 1 "$(journal -o cat -t penstock MESSAGE_ID=940bb34f95b94ebab7b67e58665acc79 | wc -l)"
claim "nothing is degraded" not eval "property penstock.service StatusText | grep degraded"
claim "the others are served" answers 1060
systemctl stop penstock-strange.socket
rm /etc/systemd/system/penstock-strange.socket
systemctl daemon-reload

cat >/etc/systemd/system/sharer.service <<-END
	[Service]
	Type=oneshot
	Sockets=penstock-lancelot.socket
	ExecStart=/bin/true
END
systemctl daemon-reload
claim "answers before" answers 1060
claim "somebody shares the socket" systemctl start sharer.service
for n in 1 2 3; do claim "client $n after that" answers 1060; done
exec 7<>/dev/tcp/127.0.0.1/51423
claim "the other service after that" eval "IFS= read -r -t 5 -u 7 line && grep -qi welcome <<<\"\$line\""
claim "no restart" is "$(property penstock.service NRestarts)" 0
done_claiming
