// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"penstock/daemon/internal/kept"
)

// The units that were applied must outlive a boot: a power cut may have emptied the
// configuration, and that is found only at the next boot. AppliedFolder is in memory,
// since it describes sockets that are open now. LastingFile is a copy of it on the
// disk, which is written when the two differ.
//
//	          penstock apply          penstock keep-units
//	                │ opens                 │ once a boot, if the copy differs
//	                ▼                       ▼
//	AppliedFolder (/run) ─────────► LastingFile (/var/lib)
//	                ▲                       │
//	    Seed, boot  │                       │ boot, if the configuration is wrong
//	                └────── generator ◄─────┘
//
// The generator cannot write the copy: from systemd 254 on its file system is
// read-only, and at boot the disk is read-only for all.
//
// The copy is not in the folder of the service's state, because the user of the service
// may write there, and the manager runs what the units say.

// LastingFile holds the units of AppliedFolder for the next boot. Its folder is
// root's.
const LastingFile = "/var/lib/penstock-generator/applied"

// lastingLimit is enough for as many services as there may be.
const lastingLimit = 16 << 20

// Applied returns the units that were applied last on the machine whose root is
// given: in this boot or, at its beginning, in the one before. The error is
// about files that could not be read; there may be units all the same.
func Applied(root string) ([]File, error) {
	folder := filepath.Join(root, AppliedFolder)
	if _, err := os.Stat(folder); err == nil {
		return Read(folder)
	}
	return lasting(root)
}

// lasting returns the units that are kept for the next boot.
func lasting(root string) ([]File, error) {
	texts, _, err := kept.Read(filepath.Join(root, LastingFile), lastingLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var files []File
	for _, f := range texts {
		if ours(f.Name) { // a name decides where a text is written to
			files = append(files, File(f))
		}
	}
	return files, err
}

// ours reports whether Generate could have made a file of that name.
func ours(name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := filepath.Match(p, name) // the patterns are well formed
		return ok
	})
}

// MakeLast keeps the units that are applied now for the next boot. It writes
// nothing when that has been done, or when there are none: to listen nowhere is
// what a power cut makes of a file.
func MakeLast(root string) error {
	files, due, err := owed(root)
	if err != nil || !due {
		return err
	}
	path := filepath.Join(root, LastingFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	var texts []kept.File
	for _, f := range files {
		texts = append(texts, kept.File(f))
	}
	return kept.Write(path, texts, 0o644)
}

// owed returns the units that are applied now, and whether those that are kept
// for the next boot are others.
func owed(root string) (files []File, due bool, err error) {
	applied, err := Read(filepath.Join(root, AppliedFolder))
	if err != nil {
		return nil, false, err
	}
	files = withoutReport(applied)
	last, err := lasting(root)
	return files, len(files) > 0 && (err != nil || !slices.Equal(files, last)), nil
}

// Names of the unit that has MakeLast done at boot, and of the drop-in with
// which the target wants it.
const (
	Keeper       = "penstock-keep-units.service"
	KeeperDropIn = Target + ".d/50-keep-units.conf"
)

// KeepLasting returns the units that have MakeLast done once the machine is up,
// or none when there is nothing to do. The root is the machine's.
func KeepLasting(root string) ([]File, error) {
	_, due, err := owed(root)
	if err != nil || !due {
		return nil, err
	}
	var service, dropIn text
	head(&service, "", "")
	service.set("Description", "Keep the socket units of penstock for the next boot")
	service.set("Documentation", "man:penstock(8)")
	// Not before the target, see errorReport.
	service.set("After", Target)
	service.set("ConditionPathIsReadWrite", filepath.Dir(filepath.Dir(LastingFile)))
	service.section("Service")
	service.set("Type", "oneshot")
	service.set("TimeoutStartSec", "60s") // oneshot has none by itself
	service.set("ExecStart", program, "keep-units")
	service.set("StateDirectory", filepath.Base(filepath.Dir(LastingFile)))
	service.set("ReadWritePaths", filepath.Dir(AppliedFolder)) // the lock
	service.set("SyslogIdentifier", "penstock")
	service.set("CapabilityBoundingSet")
	service.set("NoNewPrivileges", "yes")
	service.set("PrivateNetwork", "yes")
	service.set("ProtectHome", "yes")
	service.set("ProtectSystem", "strict")
	head(&dropIn, "", "")
	dropIn.set("Wants", Keeper)
	return []File{{Keeper, service.b.String()}, {KeeperDropIn, dropIn.b.String()}}, errors.Join(service.err, dropIn.err)
}
