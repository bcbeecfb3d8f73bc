# SPDX-License-Identifier: Apache-2.0
#
# A handler's program runs inside the sandbox: without a handler in the file
# nothing but penstock may be executed, with one the usual folders of programs,
# and no more when it is gone.
. ./assert.sh

opened() { property penstock.service ExecPaths; }

claim "install" install_package
claim "answers" answers 1060
claim "closed" is "$(opened)" /usr/bin/penstock
mkdir -p /etc/penstock/conf.d
cat >/etc/penstock/conf.d/handler.toml <<-'END'
	[service.program]
	kind    = "handler"
	listen  = ["127.0.0.1:1062"]
	command = ["/bin/sh", "-c", '''
	while IFS= read -r m; do
		conn=${m#*'"conn":'}; conn=${conn%%,*}
		printf '{"conn":%s,"data":"pid %s."}\n' "$conn" "$$"
	done
	''']
END
claim "apply" penstock apply
claim "open" not is "$(opened)" /usr/bin/penstock
first=$(ask 1062 $'hello\n')
claim "the program replies" eval "grep '^pid [0-9]*\.$' <<<'$first'"
claim "it is one program for all" is "$(ask 1062 $'hello\n')" "$first"
kill -KILL "$(tr -dc 0-9 <<<"$first")"
claim "it is started again" eventually 20 not is "$(ask 1062 $'hello\n')" "$first"
claim "the others did not notice" answers 1060
rm /etc/penstock/conf.d/handler.toml
claim "apply without it" penstock apply
claim "closed again" is "$(opened)" /usr/bin/penstock
claim "answers again" answers 1060
done_claiming
