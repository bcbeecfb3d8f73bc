// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"penstock/daemon/internal/toml"
)

// Control says who may do what by the control socket, beside root.
type Control struct {
	Admins Admins
}

// Admins are users and groups, by their numbers.
type Admins struct {
	UIDs, GIDs []uint32
	// Unknown says, for each name that the machine does not have, that it is not there.
	Unknown []string
}

// Has reports whether a process of the user and of the groups is one of them.
func (a Admins) Has(uid uint32, gids []uint32) bool {
	return slices.Contains(a.UIDs, uid) || slices.ContainsFunc(gids, func(gid uint32) bool {
		return slices.Contains(a.GIDs, gid)
	})
}

// The groups of the package, see penstock(8).
const (
	ViewGroup      = "penstock-view"
	CompanionGroup = "penstock-companion"
)

// GroupIDs returns the numbers of those groups that the machine has. It reads /etc/group,
// so it may block.
func GroupIDs(names ...string) map[string]uint32 {
	ids, all := map[string]uint32{}, sync.OnceValues(readGroups)
	for _, name := range names {
		if gid, err := lookupID("group", name, groupFile, all); err == nil {
			ids[name] = gid
		}
	}
	return ids
}

var controlKeys = []key[Control]{
	{"admins", into(func(c *Control) *Admins { return &c.Admins }, parseAdmins)},
}

// parseAdmins takes users, by name or number, and groups behind an "@". A name that is not
// there is no mistake: the file may be older than the user, and nobody gets in by it.
func parseAdmins(v any) (out Admins, err error) {
	list, ok := v.([]any)
	if !ok {
		return out, wrongType(v, "an array of users, by name or number, and groups such as \"@adm\"")
	}
	errs := problems{}
	users, groups := sync.OnceValues(readUsers), sync.OnceValues(readGroups)
	for _, e := range list {
		if _, reported := e.(toml.Invalid); !reported {
			errs.add(out.add(e, users, groups))
		}
	}
	return out, errs.err()
}

// add takes one of the list.
func (a *Admins) add(v any, users, groups func() (map[string]string, error)) error {
	name, named := v.(string)
	if !named {
		uid, err := parseUID(v, users)
		if err == nil {
			a.UIDs = append(a.UIDs, uid)
		}
		return err
	}
	to, what, file, all := &a.UIDs, "user", passwd, users
	group, ok := strings.CutPrefix(name, "@")
	if ok {
		name, to, what, file, all = group, &a.GIDs, "group", groupFile, groups
	}
	if id, err := strconv.ParseUint(name, 10, 32); err == nil && id < math.MaxUint32 {
		*to = append(*to, uint32(id))
		return nil
	}
	id, err := lookupID(what, name, file, all)
	if err != nil {
		a.Unknown = append(a.Unknown, err.Error())
		return nil
	}
	*to = append(*to, id)
	return nil
}

// warnAdmins warns of names that are not there.
func (b *builder) warnAdmins(c *Config, e entry) {
	if e.key != "admins" {
		return
	}
	for _, what := range c.Control.Admins.Unknown {
		b.warn(e, fmt.Errorf("%s, so it is nobody", what))
	}
}
