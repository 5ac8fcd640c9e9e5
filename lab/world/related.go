package world

import (
	"slices"
	"strings"
)

// relations holds links that are not part of an object, as finished records
// by the id they are asked for.
type relations struct {
	assignments map[string][]*record // appRoleAssignments of a principal
	assignedTo  map[string][]*record // appRoleAssignedTo of a resource
	methods     map[string]*methods
	rules       map[string][]*record // messageRules of a mailbox
}

// Related returns the items behind a relation of one member, in a stable
// order; 404 when the member does not exist, 400 when its collection has no
// such relation.
func (w *World) Related(c Collection, id, relation string) ([]Item, error) {
	w.rlock()
	defer w.mu.RUnlock()
	t := w.tables[c]
	if t == nil {
		return nil, errBad("Resource not found for the segment '%s'.", c)
	}
	it, ok := t.find(id)
	if !ok {
		if relation == History && c == RiskyUsers {
			return nil, refuse(404, "ResourceNotFound", "Risky user '%s' was not found.", id)
		}
		return nil, errNotFound(id)
	}
	switch c {
	case Users:
		if items, ok := w.ofUser(it.(*person), relation); ok {
			return items, nil
		}
	case Groups:
		if items, ok := w.ofGroup(it.(*group), relation); ok {
			return items, nil
		}
	case DirectoryRoles:
		if relation == Members {
			v, _ := it.Value("roleTemplateId")
			return w.objects(w.roleMembers(v.(string))), nil
		}
	case ServicePrincipals:
		if items, ok := w.ofServicePrincipal(it.ID(), relation); ok {
			return items, nil
		}
	case RiskyUsers:
		if relation == History {
			return items(w.risk.users[it.ID()].history), nil
		}
	case RiskyServicePrincipals:
		if relation == History {
			return items(w.sps.risky[it.ID()].history), nil
		}
	case Sensors, Incidents:
		if items, ok := w.ofSecurity(c, it, relation); ok {
			return items, nil
		}
	}
	return nil, errBad("Resource not found for the segment '%s'.", relation)
}

func items(list []*record) []Item {
	out := make([]Item, len(list))
	for i, r := range list {
		out[i] = r
	}
	return out
}

// objects finds directory objects of any kind by id; missing ones are left out.
func (w *World) objects(ids []string) []Item {
	var out []Item
	for _, id := range ids {
		if it, ok := w.object(id); ok {
			out = append(out, it)
		}
	}
	return out
}

func (w *World) object(id string) (Item, bool) {
	for _, c := range []Collection{Users, Groups, ServicePrincipals, Devices, Applications, DirectoryRoles} {
		if it, ok := w.tables[c].find(id); ok {
			return it, true
		}
	}
	return nil, false
}

// DirectoryObject finds a directory object of any kind by its id and says
// which collection it is in.
func (w *World) DirectoryObject(id string) (Collection, Item, bool) {
	w.rlock()
	defer w.mu.RUnlock()
	if !isGUID(id) {
		return "", nil, false
	}
	for _, c := range []Collection{Users, Groups, ServicePrincipals, Devices, Applications, DirectoryRoles} {
		if it, ok := w.tables[c].find(id); ok {
			return c, it, true
		}
	}
	return "", nil, false
}

// CollectionOf says which collection an item that Related returned belongs to,
// so that its @odata.type can be named; false for items of no collection.
func CollectionOf(it Item) (Collection, bool) {
	switch it := it.(type) {
	case *person:
		return Users, true
	case *group:
		return Groups, true
	case *device:
		return Devices, true
	case *record:
		switch {
		case it.obj["roleTemplateId"] != nil:
			return DirectoryRoles, true
		case it.obj["servicePrincipalType"] != nil:
			return ServicePrincipals, true
		case it.obj["publisherDomain"] != nil:
			return Applications, true
		}
	}
	return "", false
}

func (w *World) ofUser(u *person, relation string) ([]Item, bool) {
	switch relation {
	case MemberOf, TransitiveMemberOf:
		var out []Item
		direct := slices.Clone(u.groups)
		if relation == TransitiveMemberOf {
			for i := 0; i < len(direct); i++ {
				for _, parent := range w.groups.list {
					if slices.Contains(parent.nested, direct[i]) && !slices.Contains(direct, parent.pos) {
						direct = append(direct, parent.pos)
					}
				}
			}
		}
		for _, pos := range direct {
			out = append(out, w.groups.list[pos])
		}
		return append(out, w.rolesOf(u.id)...), true
	case Manager:
		if u.manager < 0 || w.people.list[u.manager].deleted {
			return nil, true
		}
		return []Item{w.people.list[u.manager]}, true
	case RegisteredDevices, OwnedDevices:
		var out []Item
		for _, pos := range u.devices {
			out = append(out, w.devices.list[pos])
		}
		return out, true
	case AppRoleAssignments:
		return items(w.rel.assignments[u.id]), true
	case PermissionGrants:
		return w.grantsWhere("principalId", u.id), true
	case AuthenticationMethods:
		return items(w.methodsOf(u)), true
	}
	return nil, false
}

// rolesOf lists the directoryRole objects a principal directly holds.
func (w *World) rolesOf(principal string) []Item {
	var out []Item
	for _, i := range w.roles.byPrincipal[principal] {
		if g := w.roles.grants[i]; g.id != "" && !g.eligible {
			if it, ok := w.tables[DirectoryRoles].findBy("roleTemplateId", g.role); ok {
				out = append(out, it)
			}
		}
	}
	return out
}

func (w *World) ofGroup(g *group, relation string) ([]Item, bool) {
	switch relation {
	case Members, TransitiveMembers:
		out := w.users(g.members)
		for _, pos := range g.nested {
			out = append(out, w.groups.list[pos])
			if relation == TransitiveMembers {
				out = append(out, w.users(w.groups.list[pos].members)...)
			}
		}
		return out, true
	case Owners:
		return w.users(g.owners), true
	case MemberOf, TransitiveMemberOf:
		var out []Item
		for _, parent := range w.groups.list {
			if slices.Contains(parent.nested, g.pos) {
				out = append(out, parent)
			}
		}
		return append(out, w.rolesOf(g.id)...), true
	}
	return nil, false
}

func (w *World) users(ids []string) []Item {
	out := make([]Item, 0, len(ids))
	for _, id := range ids {
		if u := w.people.list[w.people.byID[id]]; !u.deleted {
			out = append(out, u)
		}
	}
	return out
}

func (w *World) ofServicePrincipal(id, relation string) ([]Item, bool) {
	switch relation {
	case AppRoleAssignments:
		return items(w.rel.assignments[id]), true
	case AppRoleAssignedTo:
		return items(w.rel.assignedTo[id]), true
	case PermissionGrants:
		return w.grantsWhere("clientId", id), true
	case MemberOf, TransitiveMemberOf:
		return w.rolesOf(id), true
	}
	return nil, false
}

func (w *World) grantsWhere(property, value string) []Item {
	var out []Item
	for _, r := range w.tables[OAuth2PermissionGrants].(*table).list {
		if r != nil && r.obj[property] == value {
			out = append(out, r)
		}
	}
	return out
}

// organization is a collection of one whose synchronisation time moves.
type organization struct {
	w   *World
	row Object
}

func (o *organization) span() int                          { return 1 }
func (o *organization) count() int                         { return 1 }
func (o *organization) findBy(string, string) (Item, bool) { return nil, false }
func (o *organization) find(key string) (Item, bool) {
	if !strings.EqualFold(key, o.w.tenant) {
		return nil, false
	}
	return o.at(0), true
}
func (o *organization) at(int) Item {
	obj := make(Object, len(o.row)+1)
	for k, v := range o.row {
		obj[k] = v
	}
	obj["onPremisesLastSyncDateTime"] = second(o.w.lastSync(o.w.Now()).Unix())
	return &record{o.w.tenant, obj}
}
