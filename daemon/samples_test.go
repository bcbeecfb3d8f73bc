// SPDX-License-Identifier: Apache-2.0

package daemon

import "fmt"

// said is a bridge to a program that says back what it hears, behind a word.
func said(word string) string {
	return fmt.Sprintf("write = 'any'\ncommand = ['/bin/sh', '-c', 'while IFS= read -r m; do echo \"%s $m\"; done']\n", word)
}

// room says nothing of its own accord but a welcome, unless another line does.
func room(welcome, message string) string {
	return fmt.Sprintf("welcome = '%s'\nmessage = '%s'\n", welcome, message)
}
