// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"penstock/daemon/internal/kept"
)

// The configuration in force can be kept for a later start, as the texts from which it
// was read. A Config on the disk would be quicker to read back, but it would need a
// format that each later version understands; the texts have one. Mistakes keep their
// places, and the files that a text names keep their paths.

// Restore is like Load, but on the texts that Read was given in an earlier Load, in
// the same order, and not on what the files hold now. If a service names a file that
// is not among them, that file is read.
func (l Loader) Restore(files []kept.File) (*Config, error) {
	if len(files) == 0 {
		return nil, fmt.Errorf("restore configuration: %w", fs.ErrNotExist)
	}
	b := newBuilder(l)
	b.kept = map[string]string{}
	main := files[0].Name
	for _, f := range files {
		_, twice := b.kept[f.Name]
		b.kept[f.Name] = f.Text
		if f.Name != main && !isDropIn(main, f.Name) || twice {
			continue
		}
		b.addFile(f.Name, f.Text)
	}
	return b.finish()
}

// isDropIn reports whether Load of main reads the file of that name after it.
func isDropIn(main, name string) bool {
	return filepath.Dir(name) == filepath.Join(filepath.Dir(main), dropIns) && isDropInName(filepath.Base(name))
}
