# SPDX-License-Identifier: Apache-2.0
# Pages: 4k 16k
#
# What each program takes of a small board's memory: the table of penstock(8). The bounds
# are a fifth to two thirds above what was measured with pages of this size (penstock-mqtt
# has the widest), so that a change that costs memory shows; the figures are printed.
#
# What is resident is summed over the mappings: the kernel's counter of it, of which VmHWM
# is the highest value, may be off by some pages for each processor.
. ./assert.sh
# shellcheck source=/dev/null
. ./settings.sh # written by boot.sh

pages=$(getconf PAGESIZE)
files=/etc/penstock/conf.d group=/sys/fs/cgroup/system.slice
# of 4K 16K is the bound in KiB for pages of this size.
of() { if [ "$pages" -gt 4096 ]; then echo $(($2 + 1)); else echo $(($1 + 1)); fi; }
main() { property "${1:-penstock.service}" MainPID; }
kib() { awk -v field="$1:" '$1 == field { print $2 }' "/proc/$2/$3"; }
resident() { kib Rss "$1" smaps_rollup; }
own() { kib Anonymous "$1" smaps_rollup; }
peak() { kib VmHWM "$1" status; }
# charged KEY prints what the control group of the daemon is charged, or 0.
charged() {
	local stat=$group/penstock.service/memory.stat
	if [ -r "$stat" ]; then awk -v key="$1" '$1 == key { n = $2 } END { print int(n / 1024) }' "$stat"; else echo 0; fi
}

# rests PID: in two seconds it grows or shrinks by 64 KiB at most. What only a start or a
# reload needs is given back a second after it.
rests() {
	local was now=0
	for _ in {1..30}; do
		was=$now now=$(resident "$1")
		[ $((now > was ? now - was : was - now)) -gt 64 ] || return 0
		sleep 2
	done
	return 1
}
# row NAME PID prints a line of the table.
row() {
	claim "$1: at rest" rests "$2"
	printf '     %-30s %6s KiB resident, %6s its own, %6s Pss, peak %6s\n' \
		"$1" "$(resident "$2")" "$(own "$2")" "$(kib Pss "$2" smaps_rollup)" "$(peak "$2")"
	claim "$1: nothing of it is swapped" is "$(kib VmSwap "$2" status)" 0
}
reloads() {
	systemctl reload penstock.service && return
	journal -o cat -u penstock.service -n 8
	cat $group/penstock.service/memory.{current,high,events}
	return 1
}
# anew starts another daemon, that has taken over nothing.
anew() { systemctl stop penstock.service && answers 1060; }

claim "pages of ${page_size:=$pages} bytes" is "$pages" "$page_size"
total=$(awk '/^MemTotal:/ { print $2 }' /proc/meminfo)
[ "$slow" = 1 ] || claim "a board of 512 MiB" below "$total" $((512 * 1024))
echo "     $(uname -rm), pages of $pages bytes, $total KiB of memory"

# The package's file
claim "install" install_package
claim "answers" answers 1060
row "the package's file" "$(main)"
claim "the package's file: bound" below "$(resident "$(main)")" "$(of 5120 7168)"

# A bridge
mkdir -p $files
mkfifo -m 666 /run/lines.fifo
printf '[service.lines]\nkind = "bridge"\nlisten = ["127.0.0.1:1401"]\ndevice = "/run/lines.fifo"\n' >$files/50-footprint.toml
claim "apply a bridge" penstock apply
claim "a daemon with a bridge" anew
exec {line}<>/dev/tcp/127.0.0.1/1401
passes() {
	local text
	seq -f 'a line of %g' 1000 >/run/lines.fifo
	IFS= read -r -t 1 -u "$line" text
	is "${text% *}" "a line of"
}
claim "passes lines" eventually 10 passes
row "a bridge, one client" "$(main)"
claim "a bridge: bound" below "$(resident "$(main)")" "$(of 5632 7168)"
exec {line}>&-

# Idle clients
# One address may take 15 of 16 places.
printf '[limits]\nconnections = 5000\nper_source = 5000\n[service.lancelot]\nidle_timeout = "0s"\n' >$files/50-footprint.toml
claim "apply" penstock apply
claim "a daemon for many" anew
claim "at rest" rests "$(main)"
before=$(own "$(main)") kernel=$(charged kernel)
# hold has 512 clients come, be answered and stay: the shell waits for none of more than
# 1024 descriptors.
hold() {
	local fd answer n
	for ((n = 0; n < 512; n++)); do
		exec {fd}<>/dev/tcp/127.0.0.1/1060
		printf 'Who?' >&"$fd"
		IFS= read -r -d . -t $((10 * slow)) -u "$fd" answer || exit
	done
	echo "$answer" >"/run/held.$BASHPID"
	exec sleep infinity
}
crowd=()
for _ in {1..8}; do
	hold &
	crowd+=($!)
done
held() { is "$(cat /run/held.* | wc -l)" 8; }
claim "4096 clients" eventually 30 held
row "4096 idle clients" "$(main)"
each=$((($(own "$(main)") - before) * 1024 / 4096))
echo "     $each bytes for each, and $((($(charged kernel) - kernel) * 1024 / 4096)) in the kernel"
claim "a kibibyte for each" below $each 1025
claim "4096 idle clients: bound" below "$(resident "$(main)")" "$(of 10240 10240)"
{ kill "${crowd[@]}" && wait "${crowd[@]}"; } 2>/dev/null

# A large table, 8.4 MB of it
seq 100000 | awk '{ printf "\"What is the value of point %d?\" = \"The value of point %d is %d degrees.\\n\"\n", $1, $1, $1 % 37 }' >/etc/penstock/points.toml
printf '[service.points]\nkind = "lookup"\nlisten = ["127.0.0.1:1402"]\ndelimiter = "?"\nfile = "/etc/penstock/points.toml"\n' >$files/50-footprint.toml
claim "apply 100,000 answers" penstock apply
claim "a daemon with them" anew
claim "answers" is "$(ask 1402 'What is the value of point 99999?')" "The value of point 99999 is 25 degrees."
# given_back: it holds the table, and no longer what the reading of it has needed. With the
# replaced table as well it is above the bound.
given_back() { below "$(resident "$(main)")" "$(of 28672 32768)"; }
row "100,000 answers" "$(main)"
claim "what the start has needed is given back" eventually 10 given_back
claim "100,000 answers: bound of a start" below "$(peak "$(main)")" "$(of 65536 65536)"
echo 5 >"/proc/$(main)/clear_refs" # the peak is counted anew
claim "reload" reloads
claim "what the reload has needed is given back" eventually 10 given_back
row "100,000 answers, reloaded" "$(main)"
[ ! -e $group/penstock.service/memory.peak ] ||
	echo "     with the command that reloads, and the kernel: peak $(($(cat $group/penstock.service/memory.peak) / 1024)) KiB of $(($(cat $group/penstock.service/memory.high) / 1024))"
claim "100,000 answers: bound of a reload" below "$(peak "$(main)")" "$(of 98304 98304)"

# The companions
printf '[web]\n' >$files/50-footprint.toml
claim "apply a page" penstock apply
claim "install the page" install_package ./penstock-web.deb
page() { printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$1" | socat -t $((10 * slow)) - TCP:127.0.0.1:8377; }
shows() { page / | grep -F 127.0.0.1:1060; }
claim "a daemon with a page" anew
claim "the page" shows
row "penstock-web" "$(main penstock-web.service)"
claim "penstock-web: bound" below "$(resident "$(main penstock-web.service)")" "$(of 13312 14336)"

play_broker
broker=$!
cat >$files/50-footprint.toml <<-'END_OF_FILE'
	[mqtt]
	broker = "mqtt://127.0.0.1:1883"
	board  = "bench"
	[service.beat]
	kind     = "ticker"
	listen   = ["127.0.0.1:1403"]
	interval = "1s"
	payload  = "still here\n"
	mqtt     = { publish = "{host}/{service}", qos = 0 }
END_OF_FILE
claim "install penstock-mqtt" install_package ./penstock-mqtt.deb
claim "apply a broker" penstock apply
claim "it publishes" eventually 40 grep -qa "still here" /run/broker/heard
row "penstock-mqtt" "$(main penstock-mqtt.service)"
claim "penstock-mqtt: bound" below "$(resident "$(main penstock-mqtt.service)")" "$(of 12288 12288)"
kill $broker

[ ! -e $group/penstock.service/memory.events ] ||
	claim "no process was killed for memory" is "$(awk '$1 == "oom_kill" { n += $2 } END { print n }' $group/penstock*.service/memory.events)" 0
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""
done_claiming
