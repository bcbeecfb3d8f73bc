// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"penstock/daemon/internal/kept"
)

// What is in force can be kept as the texts that it was read from. The Config
// itself would be quicker to read back, and would need a form on the disk that
// each later version understands; for the texts there is one. Mistakes and the
// files that a text names stay where they were.

// Restore is Load on what Read was given in an earlier Load, in that order,
// instead of on what the files hold now. A file that a service names and that is
// not among them is read.
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
