# SPDX-License-Identifier: Apache-2.0
#
# The signed archive: apt installs from it, and refuses it when an index was
# tampered with.
. ./assert.sh

[ -d apt ] || {
	echo "no archive was made: apt-ftparchive is missing on the host"
	exit 1
}
cp -r apt /srv/apt
chmod -R a+rX /srv/apt
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
install -m 0644 apt/penstock-archive.gpg /usr/share/keyrings/
cat >/etc/apt/sources.list.d/penstock.sources <<-END
	Types: deb
	URIs: file:/srv/apt
	Suites: stable
	Components: main
	Signed-By: /usr/share/keyrings/penstock-archive.gpg
END
export DEBIAN_FRONTEND=noninteractive
claim "update" apt-get -o Dpkg::Use-Pty=0 update
claim "install" apt-get install -y penstock
claim "answers" answers 1060
claim "purge" apt-get purge -y penstock
for index in /srv/apt/dists/stable/main/binary-*/Packages; do
	sed -i 's/^Description: network/Description: tampered/' "$index"
	rm "$index.xz"
	xz -k "$index" 2>/dev/null || true
done
rm -rf /var/lib/apt/lists/*
update_complains() { apt-get update 2>&1 | grep -E 'Hash Sum mismatch|unexpected size'; }
claim "a tampered index is refused" update_complains
denied "nothing to install from it" apt-get install -y penstock
done_claiming
