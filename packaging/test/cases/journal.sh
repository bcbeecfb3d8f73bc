# SPDX-License-Identifier: Apache-2.0
#
# The journal tells who came and why anybody was refused, by fields that can be
# asked for; a flood of refusals is summed up, and entries have explanations.
. ./assert.sh

fields() { journal -o json -t penstock "$@"; }
value() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p" | head -n 1; }

claim "install" install_package
cat >>$config <<-END

	[log]
	level = "debug"

	[service.closed]
	kind = "lookup"
	listen = ["127.0.0.1:1062"]
	deny = ["127.0.0.0/8"]
	delimiter = "?"

	[service.few]
	kind = "echo"
	listen = ["127.0.0.1:1063"]
	max_connections = 2

	[service.short]
	kind = "lookup"
	listen = ["127.0.0.1:1064"]
	max_line = 16
	delimiter = "?"
END
claim "apply" penstock apply
claim "answers" answers 1060
claim "plain text names the service" eventually 10 logged penstock service=lancelot
claim "who came, by field" eval "fields SERVICE=lancelot | grep -F PEER"
claim "peer is an address" eval "fields SERVICE=lancelot | value PEER | grep -E '^127.0.0.1:[0-9]+$'"
claim "by unit as well" eval "journal -u penstock SERVICE=lancelot | grep -F 'connection closed'"

for _ in $(seq 200); do connects 1062; done
claim "why it was refused" eventually 10 eval "fields SERVICE=closed REASON=address | grep -q ."
claim "it is a warning" is "$(fields SERVICE=closed REASON=address | value PRIORITY)" 4
claim "a flood is not written out" below "$(fields SERVICE=closed REASON=address | wc -l)" 50
claim "but summed up" eventually 30 eval "journal -o cat -t penstock SERVICE=closed | grep -F suppressed"
exec 7<>/dev/tcp/127.0.0.1/1063 8<>/dev/tcp/127.0.0.1/1063 9<>/dev/tcp/127.0.0.1/1063
claim "too many for the service" eventually 10 eval "fields SERVICE=few REASON=max_connections | grep -q ."
exec 7>&- 8>&- 9>&-
ask 1064 "$(printf 'x%.0s' $(seq 100))?" >/dev/null
claim "a line that was too long" eventually 10 eval "journal -o cat -t penstock SERVICE=short | grep -F 'connection cut'"
claim "with the bytes" eval "fields SERVICE=short MESSAGE_ID=ebb095295387405384d557a194e43899 | grep -F BYTES_IN"

# every MESSAGE_ID that was written has its text
for id in $(fields | sed -n 's/.*"MESSAGE_ID":"\([0-9a-f]*\)".*/\1/p' | sort -u); do
	claim "an explanation of $id" eval "journalctl --dump-catalog $id | grep -F 'Defined-By: penstock'"
done
claim "journalctl -x shows it" eval "journal -x -t penstock MESSAGE_ID=97e8cbe119ff4244a432459954537a74 | grep -F 'A client was refused'"

kill -USR1 "$(property penstock.service MainPID)"
claim "state on SIGUSR1" eventually 10 logged penstock "service state"
claim "stop" systemctl stop penstock.service
claim "the end is noted" logged penstock "daemon stopped"
done_claiming
