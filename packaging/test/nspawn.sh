#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# nspawn.sh ARCH SUITE FOLDER [ARGUMENT...]
#
# Boots Debian's systemd in a container on this kernel, over a copy of the
# cached tree that is thrown away afterwards, runs FOLDER/run with the
# arguments as root in a copy of FOLDER, prints its output and exits with its
# status; 124 when TIMEOUT (600 s) passed, 125 when the machine never reported.
# That ends a case that hangs: the slowest takes a minute on an idle machine.
# CONSOLE names a file that keeps what the console said.
#
# An executable FOLDER/offline is run first, in a chroot of the tree, where no
# systemd runs: that is how an image builder installs packages.
#
# The network is the container's own. Limits of memory, CPU and tasks hold
# only where the host has its controllers in cgroup v2; the machines of
# qemu.sh always have them.
set -euo pipefail

arch=${1:?ARCH} suite=${2:?SUITE} folder=${3:?FOLDER}
shift 3
here=$(cd "$(dirname "$0")" && pwd)
image=$("$here/image.sh" "$arch" "$suite" tree)

work=$(mktemp -dt penstock-test.XXXXXX)
group=penstock-test-$$
groups=$(awk '$3 == "cgroup2" || ($3 == "cgroup" && $4 ~ /name=systemd/) { print $2 }' /proc/mounts)
cleanup() {
	local mount
	for mount in $groups; do
		[ -d "$mount/$group" ] || continue
		# We are in it ourselves.
		[ ! -e "$mount/cgroup.procs" ] || echo $$ >"$mount/cgroup.procs" || true
		find "$mount/$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT

mkdir -p "$work"/payload/{in,out} "$work/disk"
cp -a "$folder/." "$work/payload/in/"
printf '%s\n' "$@" >"$work/payload/in/arguments"
# A control group of its own: by default nspawn makes fixed names in its
# caller's, where two containers would meet.
for mount in $groups; do
	mkdir -p "$mount/$group"
	echo $$ >"$mount/$group/cgroup.procs"
done

# machine runs in a mount namespace of its own. Its /run hides nspawn's state
# from the host; the disk is in memory, as are the writes of --volatile=.
machine() {
	mount -t tmpfs -o mode=755 tmpfs /run
	mount -t tmpfs -o mode=755 tmpfs "$work/disk"
	mkdir "$work"/disk/{upper,work,root}
	mount -t overlay -o "lowerdir=$image/root,upperdir=$work/disk/upper,workdir=$work/disk/work" \
		overlay "$work/disk/root"
	if [ -x "$work/payload/in/offline" ]; then offline; fi
	local status=133
	while [ $status = 133 ]; do # the exit status of a container that asks for a reboot
		status=0
		# The cgroup v2 layout is what a Raspberry Pi has.
		SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --boot -D "$work/disk/root" \
			--private-network --register=no --keep-unit --machine=test --bind="$work/payload:/payload" \
			--console=pipe --resolv-conf=off --timezone=off --link-journal=no || status=$?
	done
	return $status
}

# offline runs FOLDER/offline in the tree before it boots.
offline() {
	local root=$work/disk/root status=0
	mkdir "$root/payload"
	mount --bind "$work/payload" "$root/payload"
	mount -t proc proc "$root/proc"
	chroot "$root" /bin/sh -c 'cd /payload/in && ./offline' >"$work/payload/out/output" 2>&1 || status=$?
	umount "$root/proc" "$root/payload"
	[ $status = 0 ] || {
		echo "nspawn.sh: offline part failed" >>"$work/payload/out/output"
		echo $status >"$work/payload/out/status"
		exit $status
	}
}
export -f machine offline
export work image

console=${CONSOLE:-$work/console}
status=0
timeout -k 5 "${TIMEOUT:-600}" unshare --mount --propagation private bash -euc machine \
	</dev/null >"$console" 2>&1 || status=$?
cat "$work/payload/out/output" 2>/dev/null || true
reported=$(cat "$work/payload/out/status" 2>/dev/null || true)
[ -z "$reported" ] || exit "$reported"
echo "nspawn.sh: nspawn ended with status $status and no report; the console's last lines:" >&2
tail -n 40 "$console" >&2
case $status in 124 | 137) exit 124 ;; esac
exit 125
