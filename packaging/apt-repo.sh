#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# apt-repo.sh [DEBS [FOLDER]]
#
# Makes FOLDER (bin/apt) an archive that apt can use, with the packages in DEBS
# (bin/deb): a pool, an index for each architecture and a signed InRelease.
# Serve the folder by any web server, or use it by a file: address.
#
# APT_KEY names the key of the user's keyring that signs. Without it a key is
# made for this folder and kept beside it, in FOLDER.key: enough for one's own
# boards, and a rebuilt archive is still trusted by them.
set -eu
umask 022
root=$(cd "$(dirname "$0")/.." && pwd)
debs=${1:-$root/bin/deb}
out=${2:-$root/bin/apt}
case $out in /*) ;; *) out=$PWD/$out ;; esac

die() {
	echo "apt-repo.sh: $*" >&2
	exit 1
}
for tool in apt-ftparchive gpg; do
	command -v $tool >/dev/null || die "no $tool: install apt-utils and gpg"
done
ls "$debs"/*.deb >/dev/null 2>&1 || die "no packages in $debs: make deb"

if [ -z "${APT_KEY:-}" ]; then
	GNUPGHOME=$out.key
	export GNUPGHOME
	if [ ! -d "$GNUPGHOME" ]; then
		mkdir -p "$(dirname "$GNUPGHOME")"
		mkdir -m 0700 "$GNUPGHOME"
		gpg --batch --quiet --passphrase '' --quick-generate-key 'penstock archive' ed25519 sign never
	fi
	APT_KEY=$(gpg --batch --list-secret-keys --with-colons | awk -F: '$1 == "fpr" { print $10; exit }')
	trap 'gpgconf --kill gpg-agent' EXIT
fi

rm -rf "$out"
mkdir -p "$out/pool"
cp "$debs"/*.deb "$out/pool/"
cd "$out"
for deb in pool/*.deb; do dpkg-deb -f "$deb" Architecture; done | sort -u >architectures
while read -r arch; do
	index=dists/stable/main/binary-$arch
	mkdir -p "$index"
	apt-ftparchive --arch "$arch" packages pool >"$index/Packages"
	xz -k "$index/Packages"
done <architectures
apt-ftparchive \
	-o APT::FTPArchive::Release::Origin=penstock -o APT::FTPArchive::Release::Label=penstock \
	-o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Components=main \
	-o "APT::FTPArchive::Release::Architectures=$(tr '\n' ' ' <architectures)" \
	release dists/stable >Release
mv Release dists/stable/
rm architectures
gpg --batch --quiet --yes --local-user "$APT_KEY" --clearsign -o dists/stable/InRelease dists/stable/Release
gpg --batch --quiet --yes --local-user "$APT_KEY" --detach-sign --armor -o dists/stable/Release.gpg dists/stable/Release
gpg --batch --export "$APT_KEY" >penstock-archive.gpg

cat <<END
$out is ready. On a board, with URI the folder's address:
  install -m 644 penstock-archive.gpg /usr/share/keyrings/
  printf 'Types: deb\nURIs: URI\nSuites: stable\nComponents: main\nSigned-By: /usr/share/keyrings/penstock-archive.gpg\n' >/etc/apt/sources.list.d/penstock.sources
END
