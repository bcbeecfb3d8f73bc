# SPDX-License-Identifier: Apache-2.0
#
# The units are sound and the sandbox is tight: at most 1.0 of 10 by systemd's
# own count, while TCP and Unix clients are served, their user is seen through
# it, and the machine's own networks are known.
. ./assert.sh

# warnings prints what systemd has to say about the units, without what 252
# cannot know.
warnings() { systemd-analyze verify /usr/lib/systemd/system/penstock.{service,target} /run/systemd/generator/penstock-*.socket 2>&1 | grep -i penstock | grep -v 'service type, ignoring: notify-reload\|Unknown key.*Restart\(Steps\|MaxDelaySec\)\|Command .man '; }
exposure() { systemd-analyze security --no-pager penstock.service | sed -n 's/.*exposure level for penstock.service: \([0-9.]*\).*/\1/p'; }
at_most_one() { awk -v n="$1" 'BEGIN { exit !(n <= 1.0) }'; }
as() { setpriv --reuid="$1" --regid="$1" --clear-groups socat -T3 - UNIX-CONNECT:/run/penstock/"$2".sock; }

claim "install" install_package
cat >>$config <<-END

	[service.mine]
	kind = "lookup"
	listen = ["/run/penstock/mine.sock"]
	socket_mode = "0666"
	allow_uid = [12345]
	delimiter = "?"
	default = "mine."

	[service.near]
	kind = "lookup"
	listen = ["0.0.0.0:1062", "[::1]:1062"]
	allow = ["local-subnets"]
	delimiter = "?"
	default = "near."

	[service.anywhere]
	kind = "lookup"
	listen = ["1063"]
	allow = ["local-subnets"]
	delimiter = "?"
	default = "near."
END
ip addr add 192.0.2.7/24 dev lo
claim "apply" penstock apply
claim "no warning about the units" is "$(warnings)" ""
claim "answers" answers 1060
level=$(exposure)
echo "     exposure $level"
claim "exposure at most 1.0" at_most_one "$level"
claim "and not unknown" not is "$level" ""

# %b: the question without a newline, the pipe kept open for the answer
claim "the right user is served" eval "(printf 'Who?'; sleep 1) | as 12345 mine | grep -F mine."
claim "another is refused" not eval "(printf 'Who?'; sleep 1) | as 12346 mine | grep -F mine."
claim "the journal names the user" eval "journal -o json -t penstock REASON=uid | grep -F 12346"
claim "a client of this machine" is "$(ask 1062)" "near."
near() { (printf 'Who?'; sleep 1) | socat -T3 - "TCP:$1:1062,bind=$2" | grep -F near.; }
claim "a client of its network" near 192.0.2.7 192.0.2.7
# A client that has shut its side before it is accepted, as most in scripts do.
brief() { printf 'Who?' | socat -T3 - "TCP:$1:1063,bind=$2" | grep -F near.; }
claim "a brief one, on all addresses" brief 192.0.2.7 192.0.2.7
ip addr add 198.51.100.1/32 dev lo
ip rule add from 198.51.100.1 lookup main 2>/dev/null
pid=$(property penstock.service MainPID)
claim "no capability" is "$(sed -n 's/^CapEff:\t*//p' "/proc/$pid/status")" 0000000000000000
claim "no new privileges" is "$(sed -n 's/^NoNewPrivs:\t*//p' "/proc/$pid/status")" 1
claim "a network namespace of its own" not is "$(readlink "/proc/$pid/ns/net")" "$(readlink /proc/self/ns/net)"
claim "a system call filter" is "$(sed -n 's/^Seccomp:\t*//p' "/proc/$pid/status")" 2
claim "one thread of Go code" below "$(ls "/proc/$pid/task" | wc -l)" 12
claim "no journal line about the sandbox" not eval "journal -o cat | grep -i 'penstock.*\(denied\|SIGSYS\|core dumped\)'"
claim "/tmp is its own, and writable" eval "grep -E ' /tmp rw,nosuid,nodev.* - tmpfs ' /proc/$pid/mountinfo"
# executable FOLDER: the process could run what it has written there.
executable() { awk -v at="$1" '$5 == at { options = $6 } END { exit options ~ /noexec/ }' /proc/$pid/mountinfo; }
for folder in / /tmp /var/tmp /dev/shm /run /run/penstock/private /var/lib/penstock; do
	claim "$folder holds no programs" not executable $folder
done
claim "the daemon is one" executable /usr/bin/penstock
claim "status folder" test -d /var/lib/penstock
claim "the folder of the sockets is root's" is "$(stat -c %U /run/penstock)" root
claim "stop" systemctl stop penstock.service
claim "unix sockets outlive the service" test -S /run/penstock/mine.sock
claim "and answer after it" eventually 10 eval "(printf 'Who?'; sleep 1) | as 12345 mine | grep -F mine."
done_claiming
