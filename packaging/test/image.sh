#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# image.sh ARCH SUITE tree|vm|usb|pages|pi3
#
# Builds a small Debian for the booted tests and prints its folder:
#
#	tree   root/                              enough for nspawn, 20-30 s
#	vm     + rootfs.img vmlinuz initrd.img    for qemu, minutes for a foreign ARCH
#	usb    the same with a kernel that knows USB, amd64 or arm64: vm has that of clouds
#	pages  the same with the kernels of boards, arm64 only: with pages of 4 KiB, and
#	       vmlinuz-16k initrd-16k.img, which a release before trixie has not
#	pi3    + vmlinuz-pi3 initrd-pi3.img pi3.dtb  the Raspberry Pi 3B board, arm64 only
#
# ARCH is amd64, arm64 or armhf, SUITE a Debian release. The result is kept
# under a key made from this recipe, so a second call costs nothing and a
# changed recipe never meets an old image. Ready-made images would be quicker
# once, but none boots on all of these, and none is known to the byte.
#
# Needs root, mmdebstrap and arch-test; all but tree also e2fsprogs, kmod, cpio,
# zstd and xz-utils; a foreign ARCH also qemu-user-static. The archive is the
# one this machine's apt uses; MIRROR and SECURITY_MIRROR override it.
set -euo pipefail

arch=${1:?ARCH} suite=${2:?SUITE} flavour=${3:?tree, vm, usb, pages or pi3}
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/penstock/images

say() { echo "image.sh: $*" >&2; }
die() { say "$*"; exit 1; }

case $arch in
amd64) kernel=linux-image-cloud-amd64 binfmt= ;;
arm64) kernel=linux-image-cloud-arm64 binfmt=qemu-aarch64 ;;
armhf) kernel=linux-image-armmp-lpae binfmt=qemu-arm ;;
*) die "no recipe for $arch" ;;
esac
case $flavour in
tree | vm) ;;
usb)
	case $arch in amd64 | arm64) ;; *) die "usb is an amd64 or arm64 machine" ;; esac
	kernel=linux-image-$arch
	;;
pages)
	[ "$arch" = arm64 ] || die "pages is an arm64 machine"
	kernel=linux-image-arm64
	;;
pi3) [ "$arch" = arm64 ] || die "pi3 is an arm64 board" ;;
*) die "no flavour $flavour" ;;
esac

key=$(cat "$here/image.sh" "$here"/guest/* | sha256sum | cut -c1-12)
out=$cache/$suite-$arch-$flavour
mkdir -p "$cache"
# Two runs may want the same image: the second waits and finds it made.
exec 9>"$out.lock"
flock 9
if [ "$(cat "$out/key" 2>/dev/null)" = "$key" ]; then
	echo "$out"
	exit 0
fi
[ "$(id -u)" = 0 ] || die "must be root to build an image"

# mirror LABEL prints where this machine's apt gets Debian (or its security
# updates) from.
mirror() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' "Label: $1" |
		sed 's:/*$::' | sort -u | head -n 1
}
main=${MIRROR:-$(mirror Debian)}
security=${SECURITY_MIRROR:-$(mirror Debian-Security)}
[ -n "$main" ] || die "apt knows no Debian archive; set MIRROR"

# The maintainer scripts of a foreign architecture run through qemu-user. The
# kernel is told by hand: there may be no systemd-binfmt here.
if [ -n "$binfmt" ]; then
	mountpoint -q /proc/sys/fs/binfmt_misc ||
		mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
	[ -e "/proc/sys/fs/binfmt_misc/$binfmt" ] ||
		cat "/usr/lib/binfmt.d/$binfmt.conf" >/proc/sys/fs/binfmt_misc/register
fi

new=$out.new
rm -rf --one-file-system "$new"
mkdir -p "$new"
export IMAGE_OUT=$new IMAGE_GUEST=$here/guest IMAGE_FLAVOUR=$flavour IMAGE_KERNEL=$kernel

# bootstrap SOURCE... makes the tree. Documentation is left out: it is a third
# of the size and no test reads it.
bootstrap() {
	rm -rf --one-file-system "$new/root"
	mmdebstrap --mode=root --variant=minbase --architectures="$arch" \
		--include=systemd-sysv,dbus,udev,kmod,iproute2,procps,socat \
		--aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
		--aptopt='Acquire::Check-Valid-Until "false"' \
		--aptopt='APT::Install-Recommends "false"' --dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--customize-hook="$here/guest/customize" "$suite" "$new/root" "$@" >"$new/log" 2>&1
}

say "building $suite $arch ($flavour), log in $new/log"
release=("deb $main $suite main" "deb $main $suite-updates main")
# A mirror in the middle of an update serves an index that does not fit its
# Release file. A test needs no security updates, so the point release alone
# will do, but only for that error.
if [ -z "$security" ] || ! bootstrap "${release[@]}" "deb $security $suite-security main"; then
	if [ -n "$security" ] && ! grep -q 'Mirror sync in progress\|Hash Sum mismatch' "$new/log"; then
		tail -n 40 "$new/log" >&2
		die "mmdebstrap failed"
	fi
	say "no consistent security updates for $suite: building without"
	bootstrap "${release[@]}" || {
		tail -n 40 "$new/log" >&2
		die "mmdebstrap failed"
	}
fi
if [ "$flavour" != tree ]; then
	# 1 GiB: an emulated SD card must be a power of two.
	truncate -s 1G "$new/rootfs.img"
	mke2fs -q -t ext4 -L ROOT -E lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0 \
		-d "$new/root" "$new/rootfs.img"
	rm -rf --one-file-system "$new/root"
fi
echo "$key" >"$new/key"
rm -rf --one-file-system "$out"
mv "$new" "$out"
say "done: $out, $(du -sm "$out" | cut -f1) MiB"
echo "$out"
