# SPDX-License-Identifier: Apache-2.0
# Boots: only usb
#
# Bridges of real serial adapters: clients stay while adapters are unplugged, plugged in
# again and in another order, and get the lines of their own adapter and nothing else.
#
#	line1, line2   QEMU's usb-serial, by the driver ftdi_sio: ttyUSB
#	gadget         a gadget of this kernel, by cdc_acm: ttyACM
#
# The machine plays the other ends: of line1 and line2 they are ports of virtio, of the
# gadget it is ttyGS0. It also has QEMU's monitor, by which it plugs and unplugs.
. ./assert.sh

if [ ! -e /dev/virtio-ports/test.monitor ]; then
	echo "FAIL this machine has no USB"
	exit 1
fi
exec {monitor}<>/dev/virtio-ports/test.monitor
cat <&"$monitor" >/run/usb.monitor &
declare -A far # the other ends
exec {fd}<>/dev/virtio-ports/test.usb1
far[line1]=$fd
exec {fd}<>/dev/virtio-ports/test.usb2
far[line2]=$fd
byid=/dev/serial/by-id
declare -A path=(
	[line1]=$byid/usb-QEMU_QEMU_USB_SERIAL_line1-if00-port0
	[line2]=$byid/usb-QEMU_QEMU_USB_SERIAL_line2-if00-port0
	[gadget]=$byid/usb-penstock_test_line_gadget-if00
)
gadget=/sys/kernel/config/usb_gadget/test

# make_gadget makes the gadget, which is not plugged in yet.
make_gadget() {
	modprobe -a dummy_hcd libcomposite usb_f_acm
	mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
	mkdir -p $gadget/strings/0x409 $gadget/configs/c.1 $gadget/functions/acm.usb0
	echo 0x0525 >$gadget/idVendor
	echo 0xa4a7 >$gadget/idProduct
	echo gadget >$gadget/strings/0x409/serialnumber
	echo penstock >$gadget/strings/0x409/manufacturer
	echo "test line" >$gadget/strings/0x409/product
	ln -s $gadget/functions/acm.usb0 $gadget/configs/c.1/
}
plug() {
	case $1 in
	gadget) echo dummy_udc.0 >$gadget/UDC ;;
	*) printf 'device_add usb-serial,chardev=far%s,id=%s,serial=%s\n' "${1#line}" "$1" "$1" >&"$monitor" ;;
	esac
}
unplug() {
	case $1 in
	gadget) echo >$gadget/UDC ;;
	*) printf 'device_del %s\n' "$1" >&"$monitor" ;;
	esac
}
# open_gadget opens the gadget's end, which hangs up whenever it is unplugged.
open_gadget() {
	local fd=${far[gadget]:-}
	[ -z "$fd" ] || exec {fd}>&-
	exec {fd}<>/dev/ttyGS0
	far[gadget]=$fd
	stty -F /dev/ttyGS0 raw -echo
}
is_there() { [ -e "${path[$1]}" ]; }
node() { basename "$(readlink -f "${path[$1]}")"; }

# opened NAME: the daemon has opened the adapter.
opened() { journal -o cat -t penstock SERVICE="$1" | grep '^device open'; }

# client CLIENT PORT connects a client. What it gets is in a file.
declare -A socket wanted
client() {
	local fd
	exec {fd}<>"/dev/tcp/127.0.0.1/$2" || return 1
	socket[$1]=$fd wanted[$1]=
	cat <&"$fd" >"/run/usb.$1" &
}

# says NAME TEXT CLIENT... has the adapter say a line, which the clients are to get.
says() {
	local text=$2 name
	printf '%s\n' "$2" >&"${far[$1]}"
	shift 2
	for name; do wanted[$name]+=$text$'\n'; done
}
# told TEXT CLIENT...: the clients are to get a line of the daemon.
told() {
	local text=$1 name
	shift
	for name; do wanted[$name]+=$text$'\n'; done
}
exact() {
	local name
	for name in "${!socket[@]}"; do
		cmp "/run/usb.$name" <(printf %s "${wanted[$name]}") || {
			echo "$name got:"
			tail -n 4 "/run/usb.$name"
			return 1
		}
	done
}
# hears NAME TEXT: this is what the adapter gets next.
hears() {
	local line=
	IFS= read -r -t $((5 * slow)) -u "${far[$1]}" line
	is "$line" "$2"
}

claim "install" install_package
mkdir -p /etc/penstock/conf.d
cat >/etc/penstock/conf.d/50-usb.toml <<-END
	[service.line1]
	kind = "bridge"
	listen = ["127.0.0.1:1101"]
	device = "${path[line1]}"
	speed = 115200
	low_latency = true
	write = "any"
	notice = "# {state}"
	[service.line2]
	kind = "bridge"
	listen = ["127.0.0.1:1102"]
	device = "${path[line2]}"
	write = "any"
	notice = "# {state}"
	[service.gadget]
	kind = "bridge"
	listen = ["127.0.0.1:1103"]
	device = "${path[gadget]}"
	write = "any"
	notice = "# {state}"
END

# Nothing is plugged in, and not even the drivers are there.
denied "a driver before the start" grep -q 'ttyUSB\|ttyACM' /proc/devices
claim "apply" penstock apply
claim "a client of line1" client a 1101
claim "another one" client b 1101
claim "a client of line2" client c 1102
claim "a client of the gadget" client d 1103
claim "the daemon runs" eventually 5 state_is penstock.service active
claim "the drivers are there" eventually 5 grep -q ttyUSB /proc/devices

plug line1
plug line2
make_gadget
plug gadget
for name in line1 line2 gadget; do
	claim "$name is there" eventually 10 is_there $name
	claim "$name is opened" eventually 10 opened $name
done
open_gadget
told "# back" a b c d # who came before the device

# talk ROUND: each adapter says lines, and hears one of each of its clients.
talk() {
	local n
	for n in 1 2 3; do
		says line1 "line1 $1.$n" a b
		says line2 "line2 $1.$n" c
		says gadget "gadget $1.$n" d
	done
	claim "round $1: everybody got the lines of its adapter" eventually 5 exact
	printf 'a %s\n' "$1" >&"${socket[a]}"
	claim "round $1: line1 hears a" hears line1 "a $1"
	printf 'b %s\n' "$1" >&"${socket[b]}"
	claim "round $1: line1 hears b" hears line1 "b $1"
	printf 'c %s\n' "$1" >&"${socket[c]}"
	claim "round $1: line2 hears c" hears line2 "c $1"
	printf 'd %s\n' "$1" >&"${socket[d]}"
	claim "round $1: the gadget hears d" hears gadget "d $1"
}
talk 1

# The drivers took the settings, and nobody else gets the line.
claim "speed" is "$(stty -F "${path[line1]}" speed)" 115200
claim "no hang-up" eval "stty -F '${path[line1]}' -a | grep -qw -- -hupcl"
claim "low latency" is "$(cat "/sys/bus/usb-serial/devices/$(node line1)/latency_timer")" 1
denied "of the other line" is "$(cat "/sys/bus/usb-serial/devices/$(node line2)/latency_timer")" 1
denied "another program gets the line" flock -n "${path[line1]}" true
claim "no setting was refused" not logged penstock.service "did not take a setting"

# One goes in the middle of a line, which nobody gets, and comes again under its name.
name=$(node line1)
printf 'half a li' >&"${far[line1]}"
unplug line1
told "# gone" a b
claim "the clients of line1 are told that it is gone" eventually 10 exact
says line2 "line2 meanwhile" c
claim "line2 is not" eventually 5 exact
plug line1
told "# back" a b
claim "line1 is opened again" eventually 10 exact
claim "under the name that it had" is "$(node line1)" "$name"
talk 2

# Both go, and come in the other order: their numbers change, their names do not.
first=$(node line1) second=$(node line2)
unplug line1
unplug line2
told "# gone" a b c
claim "both are gone" eventually 10 exact
if [ "$first" = ttyUSB0 ]; then order=(line2 line1); else order=(line1 line2); fi
told "# back" a b c
for name in "${order[@]}"; do
	plug "$name"
	claim "$name is there" eventually 10 is_there "$name"
done
claim "both are back" eventually 10 exact
claim "line1 has the number of line2" is "$(node line1) $(node line2)" "$second $first"
talk 3

# The other driver.
name=$(node gadget)
unplug gadget
told "# gone" d
claim "the gadget is gone" eventually 10 exact
plug gadget
told "# back" d
claim "it is back" eventually 10 exact
claim "the gadget has the name that it had" is "$(node gadget)" "$name"
open_gadget
talk 4

# A restart keeps the lines open and set, and the clients.
claim "restart" systemctl restart penstock.service
talk 5
claim "the speed is kept" is "$(stty -F "${path[line1]}" speed)" 115200

# The other end of the gadget takes nothing more, so the driver is full, and then the queue.
# A stop does not wait for it for long, and names what both lose.
printf '%.0s0123456789\n' {1..30000} >&"${socket[d]}"

# A stop gives the lines their settings back, but for what resets boards.
claim "stop" systemctl stop penstock.service
claim "what the queue and the driver had is named" is \
	"$(journal -o cat -t penstock SERVICE=gadget | grep -c '^device closed with output not sent')" 2
claim "the former speed" is "$(stty -F "${path[line1]}" speed)" 9600
claim "still no hang-up" eval "stty -F '${path[line1]}' -a | grep -qw -- -hupcl"
claim "the line is free" flock -n "${path[line1]}" true
for name in line1 line2; do unplug $name; done
unplug gadget
mapfile -t jobs < <(jobs -p)
kill "${jobs[@]}"
done_claiming
