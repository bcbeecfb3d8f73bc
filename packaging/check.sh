#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check.sh [FOLDER]
#
# Everything about the packages in FOLDER (bin/deb) that can be seen without
# booting: scripts, catalog, units, contents, lintian, and a second build that
# must give the same bytes. A tool that is missing is named and skipped;
# STRICT=1 makes that an error.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
debs=${1:-$root/bin/deb}
failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "FAIL $*"
	failed=1
}

# have TOOL PACKAGE tells whether TOOL is there.
have() {
	command -v "$1" >/dev/null && return
	if [ -n "${STRICT:-}" ]; then fail "$1 is not installed (package $2)"; else echo "skip $1 is not installed (package $2)"; fi
	return 1
}

scripts() {
	local file
	mapfile -t files < <(grep -rlE '^#!.*/(ba)?sh' "$here")
	for file in "$here"/deb/{,web.,mqtt.}{postinst,prerm,postrm}; do
		grep -q '^set -e$' "$file" || fail "$file goes on after an error"
	done
	if have shellcheck shellcheck; then
		shellcheck -S warning "${files[@]}" || fail shellcheck
		shellcheck -s bash -x -P "$here/test/payload" -S warning "$here"/test/cases/*.sh || fail "shellcheck, cases"
	fi
	bash -n "$here/completions/penstock.bash" || fail "bash completion"
	! command -v zsh >/dev/null || zsh -n "$here/completions/_penstock" || fail "zsh completion"
	! command -v fish >/dev/null || fish -n "$here/completions/penstock.fish" || fail "fish completion"
}

# Every MESSAGE_ID of the daemon has an entry, and no entry is orphaned.
catalog() {
	grep -hoE '"[0-9a-f]{32}"' "$root"/daemon/internal/report/keys.go | tr -d '"' | sort >"$work/logged"
	sed -n 's/^-- //p' "$here/catalog/penstock.catalog" | sort >"$work/explained"
	diff "$work/logged" "$work/explained" || fail "message ids in daemon/internal/report (<) and catalog (>)"
}

# The units, in a root that holds nothing else. 252 lists each line it does not
# know; the service has one on purpose.
units() {
	have systemd-analyze systemd || return 0
	local unit
	for unit in penstock penstock-web penstock-mqtt; do
		systemd-analyze security --offline=true --threshold=10 "$here/units/$unit.service" >"$work/security" 2>&1 ||
			{
				cat "$work/security"
				fail "sandbox of $unit scores above 1.0"
			}
		tail -n 1 "$work/security"
	done
}

contents() {
	local deb list arch name binary
	for deb in "$debs"/*.deb; do
		arch=$(dpkg-deb -f "$deb" Architecture)
		list=$(dpkg-deb -c "$deb")
		! grep -vE '^[-dl][rwx-]+ root/root ' <<<"$list" || fail "$deb: owner"
		grep -qE '^drwxr-xr-x .* \./$' <<<"$list" || fail "$deb: mode of the root"
		! grep -E ' \./(lib|bin|usr/local)/' <<<"$list" || fail "$deb: folder"
		rm -rf "$work/x"
		dpkg-deb -x "$deb" "$work/x"
		name=$(dpkg-deb -f "$deb" Package)
		binary=$work/x/usr/bin/$name
		go version -m "$binary" >"$work/build"
		if [ "$arch" = armhf ]; then grep -q 'GOARM=6$' "$work/build" || fail "$deb: not for ARMv6"; fi
		if [ "$arch" = amd64 ]; then grep -q 'GOAMD64=v1$' "$work/build" || fail "$deb: not for any amd64"; fi
		grep -q 'CGO_ENABLED=0' "$work/build" || fail "$deb: cgo"
		! grep -aqF "$root/" "$binary" || fail "$deb: holds the folder it was built in"
		[ "$name" != penstock ] || [ "$(stat -c %s "$binary")" -le $((8 << 20)) ] || fail "$deb: binary above 8 MiB"
	done
}

# Spelling in the binary is left out: what is found there is three bytes of
# machine code before a letter of the next string, another one in each build.
lint() {
	have lintian lintian || return 0
	lintian --allow-root --tag-display-limit 0 --pedantic --display-info \
		--suppress-tags spelling-error-in-binary \
		--fail-on error,warning,info,pedantic "$debs"/*.deb || fail lintian
}

# The second build runs elsewhere, with another umask and another clock.
again() {
	local copy=$work/elsewhere/penstock
	mkdir -p "$copy"
	(cd "$root" && tar -c --exclude=./bin --exclude=./.git .) | tar -x -C "$copy"
	find "$copy" -exec touch -h -d '2001-09-09' {} +
	(umask 077 && TZ=Asia/Kathmandu LC_ALL=C "$copy/packaging/deb/build.sh" -o "$work/again") >/dev/null
	(cd "$debs" && sha256sum -- *.deb) >"$work/sums"
	(cd "$work/again" && sha256sum --quiet -c "$work/sums") || fail "the second build differs"
}

for step in scripts catalog units contents lint again; do
	"$step"
	echo "done $step"
done
exit $failed
