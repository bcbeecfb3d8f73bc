#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# qemu.sh ARCH SUITE FOLDER [ARGUMENT...]
#
# As nspawn.sh, but in an emulated machine with its own kernel, where the
# limits of control groups hold: slower, and nothing of the host shows through.
# TIMEOUT is 1500 s. With BOARD=pi3 the machine is qemu's Raspberry Pi 3B with
# its device tree and an SD card, ARCH arm64. With BOARD=usb it has USB,
# ARCH amd64 or arm64. With BOARD=4k or 16k it has Debian's kernel of boards, with
# pages of so many KiB, ARCH arm64. All but the Pi have 512 MiB of memory.
#
# The emulator interprets (TCG). KVM is not tried: where /dev/kvm belongs to a
# guest without the processor's support, a stock kernel hangs in it.
set -euo pipefail

arch=${1:?ARCH} suite=${2:?SUITE} folder=${3:?FOLDER}
shift 3
here=$(cd "$(dirname "$0")" && pwd)
board=${BOARD:-vm}
flavour=$board suffix='' machine=$board
case $board in
4k) flavour=pages machine=vm ;;
16k) flavour=pages machine=vm suffix=-16k ;;
esac
image=$("$here/image.sh" "$arch" "$suite" "$flavour")

work=$(mktemp -dt penstock-test.XXXXXX)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/payload/in"
cp -a "$folder/." "$work/payload/in/"
printf '%s\n' "$@" >"$work/payload/in/arguments"
console=${CONSOLE:-$work/console}
: >"$console"
: >"$work/output"
: >"$work/status"

# shellcheck disable=SC2054 # the comma belongs to qemu
common=(-accel tcg,thread=multi -display none -monitor none -no-reboot -serial "file:$console")
# A panic ends the machine (-no-reboot) instead of waiting for the timeout.
words="panic=-1 quiet loglevel=4 rw mitigations=off systemd.show_status=0"

# vm: payload on a disk, report through two virtio-serial ports. Further arguments are
# those of qemu.
vm() {
	local program processor tty
	case $arch in
	amd64) program=qemu-system-x86_64 processor=(-M q35 -cpu max) tty=ttyS0 ;;
	arm64) program=qemu-system-aarch64 processor=(-M virt -cpu cortex-a53) tty=ttyAMA0 ;;
	armhf) program=qemu-system-arm processor=(-M virt -cpu cortex-a15) tty=ttyAMA0 ;;
	esac
	# The processor of the Raspberry Pi 5: those before it have no pages of 16 KiB.
	[ "$board" != 16k ] || processor=(-M virt -cpu cortex-a76)
	tar -C "$work/payload/in" --format=ustar -cf "$work/payload.tar" .
	truncate -s %1M "$work/payload.tar"
	timeout -k 5 "${TIMEOUT:-1500}" $program "${processor[@]}" "${common[@]}" -m 512 -smp 2 -nodefaults -nic none \
		-kernel "$image/vmlinuz$suffix" -initrd "$image/initrd$suffix.img" \
		-append "console=$tty rootwait random.trust_bootloader=on $words" \
		-drive "file=$image/rootfs.img,format=raw,if=none,id=root,snapshot=on,cache=unsafe" \
		-device virtio-blk-pci,drive=root,serial=root \
		-drive "file=$work/payload.tar,format=raw,if=none,id=payload,readonly=on" \
		-device virtio-blk-pci,drive=payload,serial=payload \
		-device virtio-rng-pci -device virtio-serial-pci \
		-chardev "file,id=output,path=$work/output" -device virtserialport,chardev=output,name=test.out \
		-chardev "file,id=status,path=$work/status" -device virtserialport,chardev=status,name=test.status \
		"$@"
}

# usb: the machine has a controller, the other ends of two adapters that are not plugged
# in, and QEMU's monitor to plug them in. QEMU connects to itself for that, so that a case
# needs nobody outside of the machine.
usb() {
	local name socket devices
	devices=(-device qemu-xhci -chardev "socket,id=ask,path=$work/monitor,server=on,wait=off" -mon chardev=ask)
	for socket in monitor usb1 usb2; do
		name=far${socket#usb}
		[ $socket = monitor ] || devices+=(-chardev "socket,id=$name,path=$work/$socket,server=on,wait=off")
		devices+=(-chardev "socket,id=end-$socket,path=$work/$socket" -device "virtserialport,chardev=end-$socket,name=test.$socket")
	done
	vm "${devices[@]}"
}

# pi3: the board has no virtio. The payload is a second archive behind the
# initrd, compressed because a plain one would have to be aligned; the report
# comes over the serial line. Its clock starts in the past, as on the board.
pi3() {
	: >"$work/payload/console"
	(cd "$work" && find payload | cpio -o -H newc --quiet -R 0:0) | gzip -1 >"$work/payload.gz"
	cat "$image/initrd-pi3.img" "$work/payload.gz" >"$work/initrd"
	timeout -k 5 "${TIMEOUT:-1500}" qemu-system-aarch64 -M raspi3b "${common[@]}" -serial null \
		-kernel "$image/vmlinuz-pi3" -dtb "$image/pi3.dtb" -initrd "$work/initrd" \
		-append "console=ttyAMA0,115200 test.root=/dev/mmcblk0 $words" \
		-drive "file=$image/rootfs.img,format=raw,if=sd,snapshot=on"
}

status=0
"$machine" || status=$?
if [ "$board" = pi3 ]; then
	tr -d '\r' <"$console" | sed -n '/^TEST-BEGIN/,/^TEST-STATUS=/p' >"$work/output"
	sed -n 's/^TEST-STATUS=//p' "$work/output" >"$work/status"
fi
grep -v '^TEST-' "$work/output" || true
reported=$(tr -cd 0-9 <"$work/status")
[ -z "$reported" ] || exit "$reported"
echo "qemu.sh: qemu ended with status $status and no report; the console's last lines:" >&2
tail -n 40 "$console" >&2
case $status in 124 | 137) exit 124 ;; esac
exit 125
