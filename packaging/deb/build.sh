#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# build.sh [-q] [-v VERSION] [-s SUITE] [-o FOLDER] [-p PACKAGE] [NAME...]
#
# Builds the Debian packages of the named rows of cross/targets, or of all,
# into FOLDER (bin/deb): penstock, penstock-web and penstock-mqtt, or PACKAGE
# alone. With -q they are compressed quickly and not well, for a test. Needs Go and
# dpkg-deb. One package fits all suites from bookworm on; SUITE (this machine's)
# only chooses what lintian is told.
#
# dpkg-deb and fifty lines, not debhelper: its cross builds want a C toolchain
# for every architecture to strip a binary that Go has stripped, and what it
# writes into the maintainer scripts is what deb/postinst explains away.
#
# The same source gives the same bytes, wherever, whenever and by whomever it
# is built: all times are those of the changelog's last entry.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$(dirname "$here")")
out=$root/bin/deb
version=$(sed -n 's/^## \([0-9][0-9A-Za-z.~+-]*\).*/\1/p' "$root/CHANGELOG.md" | head -n 1)
noted=$(sed -n 's/^penstock (\([^)]*\)).*/\1/p; 1q' "$here/changelog")

die() {
	echo "build.sh: $*" >&2
	exit 1
}

[ "$version" = "$noted" ] || die "CHANGELOG.md is at $version, packaging/deb/changelog at $noted"
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
packages="penstock penstock-web penstock-mqtt"
compress=-Zxz
while getopts qv:s:o:p: option; do
	case $option in
	q) compress='-Zgzip -z1' ;;
	s) suite=$OPTARG ;;
	v) version=$OPTARG ;;
	o) out=$OPTARG ;;
	p) packages=$OPTARG ;;
	*) die "usage: build.sh [-q] [-v VERSION] [-s SUITE] [-o FOLDER] [-p PACKAGE] [NAME...]" ;;
	esac
done
shift $((OPTIND - 1))

SOURCE_DATE_EPOCH=$(date -d "$(sed -n 's/^ -- .*>  //p' "$here/changelog" | head -n 1)" +%s)
# Several threads cut the compressed stream into other blocks than one.
DPKG_DEB_THREADS_MAX=1
# What the environment says about the target would be in the binary.
CGO_ENABLED=0 GOFLAGS='' GOAMD64=v1 GO386=sse2 GOARM64=v8.0 GORISCV64=rva20u64 GOEXPERIMENT='' GOWORK=off
export SOURCE_DATE_EPOCH DPKG_DEB_THREADS_MAX
export CGO_ENABLED GOFLAGS GOAMD64 GO386 GOARM64 GORISCV64 GOEXPERIMENT GOWORK

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

# put MODE SOURCE TARGET installs a file of the repository.
put() {
	install -D -m "$1" "$root/$2" "$tree/$3"
}

# zip SOURCE TARGET installs it compressed, without name and time in it.
zip() {
	mkdir -p "$(dirname "$tree/$2")"
	gzip -9n <"$root/$1" >"$tree/$2"
}

# common adds what each package has for its documentation: $1 is its name.
common() {
	put 644 packaging/deb/copyright "usr/share/doc/$1/copyright"
	zip packaging/deb/changelog "usr/share/doc/$1/changelog.gz"
	overrides=usr/share/lintian/overrides/$1
	mkdir -p "$tree/$(dirname "$overrides")"
	for list in overrides "overrides.$suite"; do
		if [ -e "$here/$list" ]; then sed "s|penstock: |$1: |; s|bin/penstock\]|bin/$1]|" "$here/$list"; fi
	done >"$tree/$overrides"
	chmod 644 "$tree/$overrides"
}

# files_penstock fills the tree with all but the binary.
files_penstock() {
	systemd=usr/lib/systemd
	# The generator is the same program; it looks at its name.
	mkdir -p "$tree/$systemd/system-generators" "$tree/etc/penstock/conf.d"
	ln -s ../../../bin/penstock "$tree/$systemd/system-generators/penstock-generator"
	put 644 packaging/units/penstock.service $systemd/system/penstock.service
	put 644 packaging/units/penstock-control.socket $systemd/system/penstock-control.socket
	put 644 packaging/units/penstock.target $systemd/system/penstock.target
	put 644 packaging/catalog/penstock.catalog $systemd/catalog/penstock.catalog
	put 644 packaging/sysusers.conf usr/lib/sysusers.d/penstock.conf
	put 644 packaging/penstock.toml etc/penstock/penstock.toml
	put 644 packaging/completions/penstock.bash usr/share/bash-completion/completions/penstock
	put 644 packaging/completions/_penstock usr/share/zsh/vendor-completions/_penstock
	put 644 packaging/completions/penstock.fish usr/share/fish/vendor_completions.d/penstock.fish
	zip daemon/man/penstock.8 usr/share/man/man8/penstock.8.gz
	zip daemon/man/penstock.toml.5 usr/share/man/man5/penstock.toml.5.gz
	zip daemon/man/penstock-from.7 usr/share/man/man7/penstock-from.7.gz
	put 644 daemon/internal/config/reference.toml usr/share/doc/penstock/examples/reference.toml
}

# files_penstock_web does so for the companion. Its socket is generated, so there is
# nothing to enable.
files_penstock_web() {
	put 644 packaging/units/penstock-web.service usr/lib/systemd/system/penstock-web.service
	zip daemon/man/penstock-web.8 usr/share/man/man8/penstock-web.8.gz
}

# files_penstock_mqtt does so for that one. The target of penstock wants its service.
files_penstock_mqtt() {
	put 644 packaging/units/penstock-mqtt.service usr/lib/systemd/system/penstock-mqtt.service
	zip daemon/man/penstock-mqtt.8 usr/share/man/man8/penstock-mqtt.8.gz
}

# scripts_PACKAGE puts what dpkg runs.
scripts_penstock() {
	for script in postinst prerm postrm; do put 755 packaging/deb/$script DEBIAN/$script; done
	echo /etc/penstock/penstock.toml >"$tree/DEBIAN/conffiles"
}
scripts_penstock_web() {
	for script in postinst prerm postrm; do put 755 packaging/deb/web.$script DEBIAN/$script; done
}
scripts_penstock_mqtt() {
	for script in postinst prerm postrm; do put 755 packaging/deb/mqtt.$script DEBIAN/$script; done
}

# about_PACKAGE is the end of the metadata.
about_penstock() {
	cat <<-END
		Depends: systemd (>= 252)
		Section: net
		Priority: optional
		Description: network services on one event loop, started by systemd sockets
		 One serial line, other device, program or growing file for many clients, a
		 relay to another server, a program for each client, answers from tables,
		 chat rooms, tickers and the small services of inetd, each from a few lines
		 of one TOML file. A systemd generator makes the socket units; the first
		 client starts the daemon.
		 .
		 Every queue is bounded: a client that stops reading never holds up another,
		 and what is dropped is counted and written to the journal.
	END
}
about_penstock_web() {
	cat <<-END
		Depends: penstock (= $version)
		Section: net
		Priority: optional
		Description: page that shows a running penstock, and its metrics
		 What penstock serves, to whom, and what was refused and why, live in a browser;
		 metrics for Prometheus; and, where the file allows it, a terminal into a room
		 or a serial line. The first request starts it, and it ends a minute after the
		 last one. It listens on loopback until the file says otherwise.
	END
}

about_penstock_mqtt() {
	cat <<-END
		Depends: penstock (= $version)
		Section: net
		Priority: optional
		Description: serial lines, files and chat rooms of penstock at an MQTT broker
		 What a serial line, a script or a file says goes to topics of a broker, and
		 what topics say goes to the line; a chat room is one room on many boards.
		 Messages wait on the disk while the broker is away, and Home Assistant may be
		 told what is there. It needs a broker that speaks MQTT 5, such as mosquitto,
		 and can reach no other address.
	END
}

# control writes the metadata of package $1 for architecture $2.
control() {
	mkdir "$tree/DEBIAN"
	"scripts_$(echo "$1" | tr - _)"
	(cd "$tree" && find usr -type f -print | LC_ALL=C sort | xargs md5sum) >"$tree/DEBIAN/md5sums"
	{
		cat <<-END
			Package: $1
			Version: $version
			Architecture: $2
			Maintainer: $(sed -n 's/^ -- \(.*>\)  .*/\1/p' "$here/changelog" | head -n 1)
			Installed-Size: $(find "$tree" -type f -printf '%s\n' | awk '{ n += int(($1 + 1023) / 1024) } END { print n }')
		END
		"about_$(echo "$1" | tr - _)"
	} >"$tree/DEBIAN/control"
}

# package PACKAGE NAME GOOS GOARCH GOARM QEMU DEBARCH
package() {
	GOOS=$3 GOARCH=$4 GOARM=$5
	[ "$GOARM" != - ] || GOARM=
	export GOOS GOARCH GOARM
	tree=$stage/$1.$2
	mkdir "$tree"
	(cd "$root" && GOFLAGS=$(packaging/goflags "$version") go build -o "$tree/usr/bin/$1" "./daemon/cmd/$1")
	"files_$(echo "$1" | tr - _)"
	common "$1"
	control "$1" "$7"
	find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	mkdir -p "$out"
	deb=$out/$1_${version}_$7.deb
	# shellcheck disable=SC2086 # one or two options
	dpkg-deb --root-owner-group $compress --build "$tree" "$deb" >/dev/null
	echo "$deb"
}

rows=$stage/rows
awk -v names=" $* " '!/^#/ && NF == 6 && (names == "  " || index(names, " " $1 " "))' "$root/cross/targets" >"$rows"
[ -s "$rows" ] || die "no such row in cross/targets: $*"
while read -r name goos goarch goarm qemu arch; do
	for one in $packages; do package "$one" "$name" "$goos" "$goarch" "$goarm" "$qemu" "$arch"; done
done <"$rows"
