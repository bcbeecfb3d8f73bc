#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# boot.sh nspawn|qemu|usb|4k|16k|pi3 ARCH SUITE [CASE...]
#
# Builds the package and its next version, boots a Debian and runs the cases in
# it. A container costs two seconds, so in nspawn each case has its own; an
# emulated machine costs half a minute, so there all share one, and those are
# run that say so in their head:
#
#	Boots: qemu         there as well
#	Boots: qemu ARCH    there as well, in machines of ARCH
#	Boots: only qemu    nowhere else: it is about the machine's kernel
#	Boots: only usb     in a machine that has USB, and nowhere else
#	Pages: 4k 16k       also in those, or one of them: machines with Debian's kernel
#	                    of boards, and pages of so many KiB
#
# A case is cases/NAME.sh: its head says in words what must hold. With
# cases/NAME.offline, that runs first in the tree before it boots (nspawn only).
# JOBS (4) containers run at a time; VERBOSE=1 shows what passed as well.
# In the cases about restarts, RESTART_CLIENTS connect (300, at least 100; and 60 in an
# emulated machine), and each side of a hand-over is killed RESTART_KILLS times (3) at moments
# that RESTART_SEED chooses.
#
# Needs root and these packages of Debian:
#	nspawn     mmdebstrap systemd-container, and apt-utils gpg for the archive
#	the others mmdebstrap arch-test qemu-user-static qemu-system-arm (or -x86)
#	           e2fsprogs kmod cpio zstd xz-utils
set -euo pipefail

kind=${1:?nspawn, qemu, usb, 4k, 16k or pi3} arch=${2:?ARCH} suite=${3:?SUITE}
shift 3
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
version=$(sed -n 's/^## \([0-9][0-9A-Za-z.~+-]*\).*/\1/p' "$root/CHANGELOG.md" | head -n 1)
read -r row goarch goarm < <(awk -v arch="$arch" '!/^#/ && $6 == arch { print $1, $3, $4 }' "$root/cross/targets") || {
	echo "boot.sh: no target of $root/cross/targets is $arch" >&2
	exit 1
}
[ "$(id -u)" = 0 ] || {
	echo "boot.sh: must be root to boot a machine" >&2
	exit 1
}

work=$(mktemp -dt penstock-boot.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir "$work/payload"
cp -a "$here/payload/." "$here/cases" "$work/payload/"
printf 'restart_%s\n' "clients=${RESTART_CLIENTS:-}" "kills=${RESTART_KILLS:-}" "seed=${RESTART_SEED:-}" \
	>"$work/payload/settings.sh"
case $kind in 4k | 16k) echo "page_size=$((${kind%k} * 1024))" >>"$work/payload/settings.sh" ;; esac
build=$root/packaging/deb/build.sh
cp "$("$build" -q -p penstock -o "$work/deb" "$row")" "$work/payload/penstock.deb"
cp "$("$build" -q -p penstock -o "$work/deb" -v "$version+next" "$row")" "$work/payload/penstock-next.deb"
for companion in web mqtt; do
	case " $* " in "  " | *" $companion "* | *" footprint "*) cp "$("$build" -q -p "penstock-$companion" -o "$work/companion" "$row")" "$work/payload/penstock-$companion.deb" ;; esac
done
if command -v apt-ftparchive >/dev/null && [ "$kind" = nspawn ]; then
	"$root/packaging/apt-repo.sh" "$work/deb" "$work/payload/apt" >"$work/log" 2>&1 || cat "$work/log"
fi

# cases prints the names to run.
cases() {
	if [ $# != 0 ]; then
		printf '%s\n' "$@"
	elif [ "$kind" = nspawn ]; then
		grep -L '^# Boots: only' "$here"/cases/*.sh | xargs basename -s .sh
	elif [ "$kind" = usb ]; then
		grep -l '^# Boots: only usb' "$here"/cases/*.sh | xargs basename -s .sh
	elif [ "$kind" = 4k ] || [ "$kind" = 16k ]; then
		grep -lE "^# Pages:.* $kind( |\$)" "$here"/cases/*.sh | xargs basename -s .sh
	else
		grep -lE "^# Boots: (only )?qemu( $arch)?\$" "$here"/cases/*.sh | xargs basename -s .sh
	fi
}

# cross_go COMMAND... is go COMMAND for the machine that boots.
cross_go() {
	(cd "$root" && CGO_ENABLED=0 GOOS=linux GOARCH=$goarch GOARM=${goarm#-} go "$@")
}

# tests builds the tests of the event loop for the case that runs them there.
tests() {
	local package
	for package in evloop evloop/internal/uring; do
		cross_go test -c -trimpath -vet=off -ldflags '-s -w' -o "$work/payload/$(basename $package).test" "./$package"
	done
}

# probe builds the program that the cases about restarts use.
probe() {
	cross_go build -trimpath -ldflags '-s -w' -o "$work/payload/probe" ./packaging/test/probe
}

# older builds a version whose records are one version older, and the released 0.1.0 if
# its source is here: a tarball or a shallow clone has no history.
older() {
	local source=$work/older/daemon/handover_save.go records
	mkdir "$work/older"
	tar -C "$root" --exclude=.git --exclude=./bin -cf - . | tar -C "$work/older" -xf -
	records=$(sed -n 's/^const recordVersion = \([0-9]\+\)$/\1/p' "$source")
	[ -n "$records" ] || {
		echo "boot.sh: no line of daemon/handover_save.go says what recordVersion is" >&2
		exit 1
	}
	sed -i "s/^const recordVersion = .*/const recordVersion = $((records - 1))/" "$source"
	echo "records=$records" >>"$work/payload/settings.sh"
	cp "$("$work/older/packaging/deb/build.sh" -q -p penstock -o "$work/older" -v "$version~older" "$row")" "$work/payload/penstock-older.deb"
	mkdir "$work/released"
	git -C "$root" archive "$released" 2>/dev/null | tar -C "$work/released" -xf - 2>/dev/null || return 0
	cp "$("$work/released/packaging/deb/build.sh" -o "$work/released" "$row")" "$work/payload/penstock-0.1.0.deb"
}
released=cfd04a00d130 # the last commit of 0.1.0

# contain runs one case in a container and keeps what it says.
contain() {
	local name=$1 folder=$work/$1 start=$SECONDS status=0
	cp -al "$work/payload" "$folder"
	[ ! -e "$here/cases/$name.offline" ] || install -m 0755 "$here/cases/$name.offline" "$folder/offline"
	"$here/nspawn.sh" "$arch" "$suite" "$folder" "$name" >"$work/$name.log" 2>&1 || status=$?
	rm -rf "$folder"
	if [ $status = 0 ]; then
		echo "pass $suite $name, $((SECONDS - start)) s"
		if [ -n "${VERBOSE:-}" ]; then cat "$work/$name.log"; else grep '^     ' "$work/$name.log" || true; fi # figures
	else
		echo "FAIL $suite $name, status $status, $((SECONDS - start)) s"
		sed 's/^/     /' "$work/$name.log"
		return 1
	fi
}

mapfile -t names < <(cases "$@")
case " ${names[*]} " in *" kernel "*) tests ;; esac
case " ${names[*]} " in *" crowd "* | *" killed "* | *" board "*) probe ;; esac
case " ${names[*]} " in *" downgrade "*) older ;; esac
if [ "$kind" != nspawn ]; then
	[ "$kind" = qemu ] || export BOARD=$kind
	"$here/qemu.sh" "$arch" "$suite" "$work/payload" "${names[@]}"
	exit
fi
# Once now, so that no case waits for it.
"$here/image.sh" "$arch" "$suite" tree >/dev/null
failed=0 running=0
for name in "${names[@]}"; do
	if [ $running -ge "${JOBS:-4}" ]; then
		wait -n || failed=1
		running=$((running - 1))
	fi
	contain "$name" &
	running=$((running + 1))
done
while [ $running -gt 0 ]; do
	wait -n || failed=1
	running=$((running - 1))
done
exit $failed
