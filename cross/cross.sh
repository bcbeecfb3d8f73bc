#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# cross.sh build [NAME]   build the daemon, vet and compile every test, for one target or all
# cross.sh test [NAME]    run the unit tests of evloop and systemd on each target's CPU,
#                         emulated by qemu-user (Debian: qemu-user-static) where it is foreign;
#                         this machine's own is left to `make test`, unless it is named
#
# The table beside this file says which targets there are. Tests are compiled
# here and only run under the emulator: `go test -exec` would do the same, but
# hides which binary failed and compiles while the emulator waits.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
out=$root/bin/cross
version=$(sed -n 's/^## \([0-9][0-9A-Za-z.~+-]*\).*/\1/p' "$root/CHANGELOG.md" | head -n 1)
export CGO_ENABLED=0

die() {
	echo "cross.sh: $*" >&2
	exit 1
}

# rows prints the table without comments; with a name, only its row.
rows() {
	found=$(awk -v name="${1:-}" '!/^#/ && NF == 6 && (name == "" || $1 == name)' "$here/targets")
	[ -n "$found" ] || die "no target ${1:-at all} in cross/targets"
	printf '%s\n' "$found"
}

# use exports the Go variables of a row.
use() {
	GOOS=$1 GOARCH=$2
	export GOOS GOARCH
	if [ "$3" = - ]; then unset GOARM; else
		GOARM=$3
		export GOARM
	fi
}

build_one() {
	use "$2" "$3" "$4"
	mkdir -p "$out/$1"
	(
		cd "$root"
		GOFLAGS=$(packaging/goflags "$version")
		export GOFLAGS
		go build -o "$out/$1/" ./daemon/cmd/penstock ./daemon/cmd/penstock-web ./daemon/cmd/penstock-mqtt
		# Vet type-checks the tests as well: 32-bit overflows of
		# constants show here, not at run time. With the same flags it finds
		# compiled what the build has compiled.
		go vet ./...
	)
	echo "built $1"
}

# emulator prints the command that runs a binary of the row, "" when native.
emulator() {
	case $1 in
	native) return ;;
	*:*) cpu=${1#*:} ;;
	*) cpu= ;;
	esac
	for cmd in "qemu-${1%:*}-static" "qemu-${1%:*}"; do
		if command -v "$cmd" >/dev/null; then
			echo "$cmd${cpu:+ -cpu $cpu}"
			return
		fi
	done
	die "no qemu-${1%:*}: install qemu-user-static"
}

# probe DIR makes the folder of a program that does nothing. Go takes no folder for a
# package whose name begins with an underscore; `./...` would find the program.
probe() {
	mkdir -p "$1"
	printf 'package main\n\nfunc main() {}\n' >"$1/main.go"
}

# refuses_v7 proves that the emulated CPU is the old one: a GOARM=7 binary must
# not start there. Without it the armv6 run would prove nothing.
refuses_v7() {
	dir=$out/_probe
	probe "$dir"
	GOARM=7 go build -o "$dir/v7" "$dir/main.go"
	GOARM=6 go build -o "$dir/v6" "$dir/main.go"
	$1 "$dir/v6" || die "armv6: a GOARM=6 binary does not run under '$1'"
	if $1 "$dir/v7" 2>/dev/null; then
		die "armv6: a GOARM=7 binary runs under '$1': not an ARMv6 CPU"
	fi
	echo "armv6: GOARM=7 is refused, as on the board"
}

# runs_here reports whether this kernel runs a binary of the row.
runs_here() {
	probe "$out/_probe"
	go build -o "$out/_probe/$GOARCH" "$out/_probe/main.go" || die "cannot build for $GOARCH"
	"$out/_probe/$GOARCH" 2>/dev/null
}

test_one() {
	use "$2" "$3" "$4"
	# Some virtual machines have no 32-bit mode, and Go's own tests crash under
	# qemu-i386 too. The ARM rows are the 32-bit ones there.
	if [ "$5" = native ] && ! runs_here; then
		echo "skip $1: this kernel runs no such program"
		return
	fi
	run=$(emulator "$5")
	if [ "$1" = armv6 ]; then refuses_v7 "$run"; fi
	mkdir -p "$out/$1"
	(cd "$root" && go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}' \
		./evloop/... ./systemd/...) >"$out/$1/packages"
	while read -r pkg dir; do
		[ -n "$pkg" ] || continue
		bin=$out/$1/$(echo "$pkg" | tr / -).test
		(cd "$root" && go test -c -trimpath -vet=off -o "$bin" "$pkg")
		# Tests open testdata relative to their package. PENSTOCK_EMULATED
		# tells them that timing and exotic system calls are an emulator's.
		(cd "$dir" && PENSTOCK_EMULATED=${run:+1} $run "$bin" -test.short -test.timeout 10m >"$bin.log" 2>&1) ||
			{
				cat "$bin.log" >&2
				die "$1: $pkg failed"
			}
		echo "ok   $1 $pkg"
	done <"$out/$1/packages"
}

[ $# -ge 1 ] || die "usage: cross.sh build|test [NAME]"
case $1 in
build | test) ;;
*) die "unknown command $1" ;;
esac

# Through a file, not a pipe: in a pipe's subshell `exit` would not end us.
mkdir -p "$out"
rows "${2:-}" >"$out/rows"
own=
if [ "$1" = test ] && [ -z "${2:-}" ]; then own=$(go env GOHOSTARCH); fi
while read -r name goos goarch goarm qemu _; do
	if [ "$goarch" = "$own" ]; then
		echo "skip $name: make test runs it"
		continue
	fi
	"$1_one" "$name" "$goos" "$goarch" "$goarm" "$qemu"
done <"$out/rows"
