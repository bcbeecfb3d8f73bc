#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A handler in plain sh: says back what it was told. One process serves all
# clients; penstock.toml(5), HANDLER PROTOCOL, describes the lines.
#
#	[service.parrot]
#	kind    = "handler"
#	listen  = ["127.0.0.1:5000"]
#	command = ["/path/to/handler.sh"]
#
# A shell has no JSON library. It does not need one here: "conn" is always the
# first field and "data" the last one, and the text between is passed on as it
# came, with its escapes.
#
# No newline is part of "data" when the delimiter is one, and none is added to
# the reply, hence the \n.

while IFS= read -r line; do
	conn=${line#*'"conn":'}
	conn=${conn%%,*}
	case $line in
	*'"data":"'*)
		data=${line#*'"data":"'}
		data=${data%'"}'}
		;;
	*'"base64":"'*) data='no text' ;; # bytes that are not UTF-8
	*) continue ;;                    # open, close: nobody waits for a reply
	esac
	printf '{"conn":%s,"data":"you said: %s\\n"}\n' "$conn" "$data"
done
