package connector

import (
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Hold notes that the account holds the role; the same role twice is one.
func (d *DirectoryFacts) Hold(objectID string, r identity.Role) {
	id := strings.ToLower(objectID)
	if !slices.Contains(d.Holders[id], r) {
		d.Holders[id] = append(d.Holders[id], r)
	}
}

// Of returns what the reading says of one Entra account: its roles and which of
// the protected groups and names are its, of those that were read. Known is false when
// roles were never read.
func (d DirectoryFacts) Of(objectID string) (f identity.Facts, known bool) {
	if d.AsOf.IsZero() {
		return identity.Facts{}, false
	}
	id := strings.ToLower(objectID)
	f = identity.Facts{RolesAsOf: d.AsOf, Roles: d.Holders[id]}
	for g, members := range d.GroupMembers {
		f.GroupsRead = append(f.GroupsRead, g)
		if slices.ContainsFunc(members, func(m string) bool { return strings.EqualFold(m, id) }) {
			f.Groups = append(f.Groups, g)
		}
	}
	for name, owner := range d.Named {
		f.GroupsRead = append(f.GroupsRead, name)
		if owner != "" && strings.EqualFold(owner, id) {
			f.Groups = append(f.Groups, name)
		}
	}
	slices.Sort(f.Groups)
	slices.Sort(f.GroupsRead)
	return f, true
}
