# SPDX-License-Identifier: Apache-2.0
#
# What the file says about a socket is what the kernel has: owner, group, mode,
# backlog, device. Addresses of every form arrive as they were written, and one
# that the machine does not have yet harms nobody.
. ./assert.sh

claim "install" install_package
groupadd -f board
useradd -M keeper 2>/dev/null
cat >>$config <<-END

	[service.keys]
	kind = "lookup"
	listen = ["/run/penstock/keys.sock", "127.0.0.1:1062"]
	socket_mode = "0620"
	socket_user = "keeper"
	socket_group = "board"
	backlog = 17
	bind_device = "lo"
	ip_allow = ["localhost"]
	ip_deny = ["any"]
	delimiter = "?"
	default = "keys."

	[service.forms]
	kind = "lookup"
	listen = ["1063", "[::1]:1064", "@penstock-abstract", "/run/penstock/a folder/100%.sock"]
	delimiter = "?"
	default = "forms."

	[service.later]
	kind = "lookup"
	listen = ["192.0.2.99:1066", "127.0.0.1:1066"]
	delimiter = "?"
	default = "later."

	[service.a-b_c9]
	kind = "lookup"
	listen = ["127.0.0.1:1067"]
	delimiter = "?"
	default = "name."
END
claim "apply" penstock apply
claim "owner, group and mode" is "$(stat -c '%U %G %a' /run/penstock/keys.sock)" "keeper board 620"
claim "backlog" is "$(ss -Hltn 'sport = :1062' | awk '{ print $3 }')" 17
claim "device" is "$(property penstock-keys.socket BindToDevice)" lo
claim "address list of the socket" eval "property penstock-keys.socket IPAddressAllow | grep 127.0.0.0/8"
claim "answers" is "$(ask 1062)" "keys."
claim "a bare port" is "$(ask 1063)" "forms."
claim "IPv6" eval "(printf 'What?'; sleep 1) | socat -T3 - 'TCP6:[::1]:1064' | grep -F forms."
claim "abstract" eval "(printf 'What?'; sleep 1) | socat -T3 - ABSTRACT-CONNECT:penstock-abstract | grep -F forms."
claim "a path with a space and a percent sign" eval "(printf 'What?'; sleep 1) | socat -T3 - 'UNIX-CONNECT:/run/penstock/a folder/100%.sock' | grep -F forms."
claim "an address that is not there yet" is "$(ask 1066)" "later."
ip addr add 192.0.2.99/32 dev lo
claim "answers when it comes" eval "(printf 'What?'; sleep 1) | socat -T3 - TCP:192.0.2.99:1066 | grep -F later."
claim "a name with every kind of character" is "$(ask 1067)" "name."
claim "nothing is degraded" not eval "property penstock.service StatusText | grep degraded"
claim "no line of a unit was ignored" not eval "journal -o cat _PID=1 | grep -iE 'run/systemd/generator/penstock.*(ignor|unknown|fail|invalid)'"
claim "no complaint about a socket option" not eval "journal -o cat _PID=1 | grep -E 'penstock.*(failed: |not supported)'"
claim "nothing failed" is "$(systemctl --failed --no-legend --plain)" ""

sed -i 's/"board"/"nobodies"/' $config
denied "apply with a group that is not there" penstock apply
claim "names it" eval "penstock apply 2>&1 | grep -F 'group nobodies'"
claim "the others answer" is "$(ask 1063)" "forms."
done_claiming
