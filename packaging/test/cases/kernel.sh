# SPDX-License-Identifier: Apache-2.0
# Boots: only qemu
# Pages: 16k
#
# The promises of the event loop hold on this machine's kernel, under either
# back end: what a kernel does with an edge, a cancelled receive or a lack of
# buffers has changed more than once. bookworm has Linux 6.1, the oldest that
# io_uring is used on. The tests are those of `make test` and skip none here;
# the simulation is left out, for it plays the kernel.
. ./assert.sh

# suite NAME [REGEXP] runs tests of a package, and shows what failed.
suite() {
	local status=0
	"./$1.test" -test.v -test.timeout 9m -test.run "${2:-.}" -test.skip Simulation >"/run/$1" 2>&1 || status=$?
	[ $status = 0 ] || grep -v '^=== \|--- PASS' "/run/$1"
	return $status
}
count() { grep -c -- "^ *--- $1" "/run/$2"; }

claim "the ring itself" suite uring
claim "the event loop" suite evloop '^Test(Loop|AutoTakesRing|Ring)'
echo "     $(uname -r): $(count PASS evloop) tests of the event loop passed, $(count SKIP evloop) skipped"
if [[ $(uname -m) == armv* ]]; then
	claim "32-bit ARM has no ring" grep -F '32-bit ARM' /run/evloop
else
	claim "none skipped" is "$(grep -h -A 1 -- '--- SKIP' /run/uring /run/evloop)" ""
fi
done_claiming
