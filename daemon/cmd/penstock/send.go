// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"

	"penstock/daemon/internal/control"
)

const aboutSend = `Sends a line to the members of a room, or a message to the device or program of a
bridge whose key write allows it. A room shows it as a line of NAME with --name NAME,
and as it is without. Who may: root, the users and groups of control.admins, and the
user who has started the daemon by hand. Which daemon: see penstock status -h.
`

var nameOption = option{"-name", "NAME"}

func sendMessage(p process, c command, args []string) int {
	var name string
	a, status, ok := newAsk(p, c, args, func(flags *flag.FlagSet) { flags.StringVar(&name, nameOption.name(), "", "") })
	switch {
	case !ok:
		return status
	case a.second == "":
		return a.usage("want a service and a text")
	}
	return a.answer(a.notRunning, func(client *control.Client) error {
		in := control.Publication{Service: a.of, Name: name}
		in.Data, in.Base64 = control.Text([]byte(a.second))
		err := client.Call(control.Interface+".Publish", in, nil)
		if e, ok := errors.AsType[*control.Error](err); ok && e.Is(control.InvalidParameter("")) {
			return errors.New("the text is more than one message: it has a delimiter in it, such as the end of a line")
		}
		return err
	})
}
