// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// GeneratorFolder is where systemd reads what generators write: the first of
// systemd.generator(7).
const GeneratorFolder = "/run/systemd/generator"

// Write puts files into a generator's folder. What can be written is written:
// the error joins what could not. Nothing is replaced atomically, for the
// manager empties the folder before it runs the generators, and reads it when
// all have ended.
func Write(folder string, files []File) error {
	var errs []error
	for _, f := range files {
		path := filepath.Join(folder, f.Name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(f.Text), 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Remove takes the files of a former Write out of the folder that are not in
// next. Folders of drop-ins stay: an empty one means nothing.
func Remove(folder string, former, next []File) error {
	var errs []error
	for _, f := range former {
		if !slices.ContainsFunc(next, func(n File) bool { return n.Name == f.Name }) {
			errs = append(errs, os.Remove(filepath.Join(folder, f.Name)))
		}
	}
	return errors.Join(errs...)
}

// patterns are those of the names that Generate gives.
var patterns = []string{SocketName("*"), ServiceDropIn, HandlersDropIn, FilesDropIn, DevicesDropIn, ProxiesDropIn, WebDropIn, MQTTDropIn, TargetDropIn, ReportDropIn, ErrorReport}

// Read returns the generated files that are in the folder: those whose names
// could be ours. A folder that does not exist holds none.
func Read(folder string) ([]File, error) {
	var files []File
	for _, pattern := range patterns {
		// The pattern is well formed, and a folder that cannot be read has no
		// matches; reading a match tells.
		paths, _ := filepath.Glob(filepath.Join(folder, pattern))
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			name, err := filepath.Rel(folder, path)
			if err != nil {
				return nil, err
			}
			files = append(files, File{name, string(text)})
		}
	}
	return files, nil
}

// SocketFiles returns the paths of the Unix sockets in files.
func SocketFiles(files []File) (paths []string) {
	for _, f := range files {
		for line := range strings.Lines(f.Text) {
			if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "ListenStream=/"); ok {
				paths = append(paths, "/"+strings.ReplaceAll(path, "%%", "%"))
			}
		}
	}
	return paths
}

// AppliedFolder keeps the generated units as they were when the sockets were
// opened. The generator's own folder cannot tell: it is made anew at each
// daemon-reload, also at one that a package manager causes, while a socket
// that is open keeps its mode, its queue and its address until it is
// restarted. The generator makes the folder at boot, penstock apply keeps it.
const AppliedFolder = "/run/penstock/applied"

// Keep returns the units to write if the configuration has mistakes: the units that
// were applied, and from files, which Generate made, those of the report. A mistake may
// seem to be in a service that was right for years, and a syntax error hides all
// services behind it. If the unit of a socket is missing at a daemon-reload, or has
// another address, the socket listens only as long as the service runs. If nothing was
// applied, as at the first boot, Keep returns files.
func Keep(applied, files []File) []File {
	kept := withoutReport(applied)
	if len(kept) == 0 {
		return files
	}
	for _, f := range files {
		if isReport(f) {
			kept = append(kept, f)
		}
	}
	sortFiles(kept)
	return kept
}

// withoutReport returns the files that are not about mistakes.
func withoutReport(files []File) []File { return slices.DeleteFunc(slices.Clone(files), isReport) }

func isReport(f File) bool { return f.Name == ErrorReport || f.Name == ReportDropIn }

// Seed makes the folder with files, unless it is there.
func Seed(folder string, files []File) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	return Replace(folder, files)
}

// Replace has the folder hold files and nothing else. A reader finds the
// folder whole, or for a moment none.
func Replace(folder string, files []File) error {
	temp := folder + ".new"
	if err := os.RemoveAll(temp); err != nil {
		return err
	}
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return err
	}
	if err := Write(temp, files); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	return os.Rename(temp, folder)
}
