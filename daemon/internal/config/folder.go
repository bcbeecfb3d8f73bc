// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The main file and the drop-ins beside it.

// listDropIns returns the drop-ins of dir in lexical order. Hidden files are skipped:
// editors and package managers write their temporary files under such names.
func listDropIns(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if isDropInName(e.Name()) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, err
}

func isDropInName(base string) bool {
	return strings.HasSuffix(base, ".toml") && !strings.HasPrefix(base, ".")
}

// readMain reads the main file. If it is a link to /dev/null, all is in the drop-ins,
// and the file does not count as an empty one.
func readMain(path string, pipe bool, pause func() error) (string, error) {
	fi, err := os.Stat(path)
	null, nullErr := os.Stat(os.DevNull)
	if err == nil && nullErr == nil && os.SameFile(fi, null) {
		return "# " + os.DevNull + "\n", nil
	}
	return readFile(path, maxFile, pipe, pause)
}
