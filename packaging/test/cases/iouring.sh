# SPDX-License-Identifier: Apache-2.0
# Boots: qemu amd64
#
# Under the shipped unit io_uring is refused: epoll serves, and one line of the
# log names the cause. With the drop-in of penstock.toml(5), word for word, the
# ring is used, over TCP and Unix sockets, across reload and restart, and the
# sandbox is as tight as before. Where the kernel itself refuses, by what it is
# or by its sysctl, it is epoll and one line again.
. ./assert.sh

loop=/etc/penstock/conf.d/loop.toml
dropin=/etc/systemd/system/penstock.service.d/io_uring.conf
sysctl=/proc/sys/kernel/io_uring_disabled

pid() { property penstock.service MainPID; }
# loop_on BACKEND restarts the service with it.
loop_on() {
	printf '[loop]\nbackend = "%s"\n' "$1" >$loop
	systemctl restart penstock.service
}
# manual prints what the manual of the package tells to put into the drop-in.
manual() {
	dpkg-deb --fsys-tarfile ./penstock.deb | tar -xO ./usr/share/man/man5/penstock.toml.5.gz | zcat |
		sed -n '/^\.It Ic backend /,/^\.Sh/s/^\.Dl //p'
}
allow() {
	mkdir -p "$(dirname $dropin)"
	printf '%s\n' "$@" >$dropin
	systemctl daemon-reload
}
forbid() {
	rm $dropin
	systemctl daemon-reload
}
as_daemon() { setpriv --reuid=penstock --regid=penstock --clear-groups "$@"; }

on_ring() { find "/proc/$(pid)/fd" -lname 'anon_inode:\[io_uring\]' | grep .; }
# fell_back prints what the running process has said about it.
fell_back() { journal -o cat "_SYSTEMD_INVOCATION_ID=$(property penstock.service InvocationID)" | grep -F 'falls back'; }
unix_answers() { (printf 'Who?'; sleep 1) | socat -T3 - UNIX-CONNECT:/run/penstock/near.sock | grep -F near.; }
held_open() { IFS= read -r -d . -t $((5 * slow)) -u 7 answer; is "$answer." "$1"; }
exposure() { systemd-analyze security --no-pager penstock.service | sed -n 's/.*exposure level for penstock.service: \([0-9.]*\).*/\1/p'; }
at_most_one() { awk -v n="$1" 'BEGIN { exit !(n != "" && n <= 1.0) }'; }

# refused BACKEND CAUSE claims that epoll serves, and why.
refused() {
	claim "$1: answers" answers 1060
	denied "$1: no ring" on_ring
	claim "$1: one line names the cause" is "$(fell_back | grep -o 'falls back.*')" \
		"falls back to epoll backend=$1 err=\"$2\""
}
# used BACKEND claims that the ring serves, unless this kernel has none.
used() {
	if [ -n "$lacking" ]; then
		refused "$1" "$lacking"
		return
	fi
	claim "$1: answers" answers 1060
	claim "$1: the ring is used" on_ring
	claim "$1: nothing to complain of" is "$(fell_back)" ""
}

claim "install" install_package
lookup near '"/run/penstock/near.sock", "127.0.0.1:1062"'
claim "apply" penstock apply
lacking=$(as_daemon penstock probe-io-uring)
[ -z "$lacking" ] || echo "     this kernel has no ring to offer: $lacking"
sandbox="io_uring_setup: operation not permitted"
[[ $lacking != *ARM* ]] || sandbox=$lacking # refused before anybody is asked

loop_on io_uring
refused io_uring "$sandbox"
loop_on auto
refused auto "$sandbox"

claim "the manual has it" is "$(manual | sed -n 1p)" "[Service]"
claim "in lines that a terminal does not break" below "$(manual | wc -L)" 60
allow "$(manual)"
loop_on io_uring
used io_uring
loop_on auto
used auto
claim "a Unix client" unix_answers
level=$(exposure)
echo "     exposure $level"
claim "exposure at most 1.0" at_most_one "$level"
claim "a system call filter" is "$(sed -n 's/^Seccomp:\t*//p' "/proc/$(pid)/status")" 2

first=$(pid)
exec 7<>/dev/tcp/127.0.0.1/1062
sed -i 's/Camelot/Caerleon/' $config
claim "reload" systemctl reload penstock.service
claim "the new answer" is "$(ask 1060 'What is your name?')" "My name is Sir Lancelot of Caerleon."
claim "the same process" is "$(pid)" "$first"
printf 'And now?' >&7
claim "the connection goes on" held_open near.
exec 7>&-

rm -f /run/load-*
for n in 1 2; do load $n 1060 & done
claim "load before the restart" eventually 20 enough 20
claim "restart" systemctl restart penstock.service
claim "load after the restart" eventually 20 enough $(($(loaded) + 20))
unload
claim "another process" not is "$(pid)" "$first"
used auto

if [ $slow = 1 ]; then
	# Newer kernels charge a ring to this limit, systemd's default of which is
	# enough by far.
	allow "$(manual)" LimitMEMLOCK=4K
	loop_on auto
	claim "answers without memory to lock" answers 1060
	if on_ring >/dev/null; then
		echo "     $(uname -r) does not charge rings to RLIMIT_MEMLOCK"
	elif [ -z "$lacking" ]; then
		refused auto "io_uring_setup: cannot allocate memory"
	fi
	allow "$(manual)"
fi

# The sysctl is the machine's: in a container it would be that of the host.
if systemd-detect-virt -qc; then
	echo "     a container: the sysctl was left alone"
elif [ ! -e $sysctl ]; then
	echo "     Linux $(uname -r) has no kernel.io_uring_disabled"
else
	for value in 2 1; do
		echo $value >$sysctl
		for backend in io_uring auto; do
			loop_on $backend
			refused $backend "io_uring_setup: operation not permitted"
		done
	done
	getent group penstock | cut -d: -f3 >/proc/sys/kernel/io_uring_group
	loop_on auto
	used auto
	echo 0 >$sysctl
fi

forbid
loop_on io_uring
refused io_uring "$sandbox"
denied "no journal line about the sandbox" eval "journal -o cat | grep -i 'penstock.*\(denied\|SIGSYS\|core dumped\)'"
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
