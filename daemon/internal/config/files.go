// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"path/filepath"
)

// Files that services name are read together with the configuration, not when a
// client asks. So a running service never waits for a disk, and a mistake in such a
// file is found together with the others.

// open reads the file that key "file" of d names, relative to the folder of
// the configuration file that says so.
func (b *builder) open(d described, name string) (path, text string, ok bool) {
	at := d.where("file")
	if path = name; !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(at.file), path)
	}
	if text, ok = b.kept[path]; !ok {
		var err error
		if text, err = readFile(path, maxFile, false, b.rest); err != nil {
			b.wrong(at, fmt.Errorf("read %s: %s", path, reason(err)))
			return path, "", false
		}
	}
	if b.Read != nil {
		b.Read(path, text, true)
	}
	b.files = append(b.files, path)
	return path, text, true
}
