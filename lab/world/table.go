package world

import (
	"maps"
	"strings"
)

// rows is one collection as the readers see it. Positions are 0 to span()-1;
// at returns nil where a member was deleted.
type rows interface {
	span() int
	count() int
	at(pos int) Item
	find(key string) (Item, bool)
	findBy(property, value string) (Item, bool)
}

// table is a collection of finished records.
type table struct {
	list []*record
	byID map[string]int
	alt  map[string]map[string]int // alternate keys by property, values in lower case
	gone int
}

func newTable(alternates ...string) *table {
	t := &table{byID: map[string]int{}}
	for _, a := range alternates {
		if t.alt == nil {
			t.alt = map[string]map[string]int{}
		}
		t.alt[a] = map[string]int{}
	}
	return t
}

// add appends a record; its id must be new.
func (t *table) add(id string, o Object) *record {
	r := &record{id, o}
	pos := len(t.list)
	t.list = append(t.list, r)
	t.byID[id] = pos
	for property, index := range t.alt {
		if v, ok := o[property].(string); ok {
			index[strings.ToLower(v)] = pos
		}
	}
	return r
}

// replace puts a new snapshot in the place of an old one.
func (t *table) replace(id string, o Object) { t.list[t.byID[id]] = &record{id, o} }

// edit replaces a record by a copy with some properties changed.
func (t *table) edit(id string, set Object) {
	next := maps.Clone(t.list[t.byID[id]].obj)
	maps.Copy(next, set)
	t.replace(id, next)
}

func (t *table) remove(id string) {
	pos, ok := t.byID[id]
	if !ok {
		return
	}
	for property, index := range t.alt {
		if v, ok := t.list[pos].obj[property].(string); ok {
			delete(index, strings.ToLower(v))
		}
	}
	delete(t.byID, id)
	t.list[pos] = nil
	t.gone++
}

func (t *table) get(id string) (*record, bool) {
	pos, ok := t.byID[id]
	if !ok {
		return nil, false
	}
	return t.list[pos], true
}

func (t *table) span() int  { return len(t.list) }
func (t *table) count() int { return len(t.list) - t.gone }
func (t *table) at(pos int) Item {
	if r := t.list[pos]; r != nil {
		return r
	}
	return nil
}
func (t *table) find(key string) (Item, bool) {
	if r, ok := t.get(key); ok {
		return r, true
	}
	if r, ok := t.get(strings.ToLower(key)); ok {
		return r, true
	}
	return nil, false
}
func (t *table) findBy(property, value string) (Item, bool) {
	if pos, ok := t.alt[property][strings.ToLower(value)]; ok {
		return t.at(pos), true
	}
	return nil, false
}

// Known reports whether c is a collection.
func (w *World) Known(c Collection) bool { return w.tables[c] != nil }

// Get finds one member. Users are found by id or user principal name (case
// does not matter), all others by id.
func (w *World) Get(c Collection, key string) (Item, bool) {
	w.rlock()
	defer w.mu.RUnlock()
	t := w.tables[c]
	if t == nil {
		return nil, false
	}
	return t.find(key)
}

// GetBy finds one member by an alternate key: users by
// "onPremisesSecurityIdentifier", devices by "deviceId", servicePrincipals and
// applications by "appId", directoryRoles by "roleTemplateId",
// identityAccounts by "onPremisesSecurityIdentifier".
func (w *World) GetBy(c Collection, property, value string) (Item, bool) {
	w.rlock()
	defer w.mu.RUnlock()
	t := w.tables[c]
	if t == nil {
		return nil, false
	}
	return t.findBy(property, value)
}

// Count returns the number of members; 0 for an unknown collection.
func (w *World) Count(c Collection) int {
	w.rlock()
	defer w.mu.RUnlock()
	if t := w.tables[c]; t != nil {
		return t.count()
	}
	return 0
}

// Walk calls fn for each member at position from or after, in order of
// creation, until fn returns false. Positions are stable: a member keeps its
// position for life and positions are never reused, so a page token may hold
// the position to go on from. fn runs under a read lock and must not call the
// World. Items may be kept.
func (w *World) Walk(c Collection, from int, fn func(pos int, it Item) bool) {
	w.rlock()
	defer w.mu.RUnlock()
	t := w.tables[c]
	if t == nil {
		return
	}
	for pos := max(from, 0); pos < t.span(); pos++ {
		if it := t.at(pos); it != nil && !fn(pos, it) {
			return
		}
	}
}

// WalkBack is Walk from newest to oldest, starting at position from; a
// negative from means the newest.
func (w *World) WalkBack(c Collection, from int, fn func(pos int, it Item) bool) {
	w.rlock()
	defer w.mu.RUnlock()
	t := w.tables[c]
	if t == nil {
		return
	}
	pos := t.span() - 1
	if from >= 0 {
		pos = min(pos, from)
	}
	for ; pos >= 0; pos-- {
		if it := t.at(pos); it != nil && !fn(pos, it) {
			return
		}
	}
}

// DefaultProperties returns the properties that Graph sends for a member when
// the request has no $select; nil means all. Only users are cut.
func DefaultProperties(c Collection) []string {
	if c != Users {
		return nil
	}
	return []string{
		"businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone",
		"officeLocation", "preferredLanguage", "surname", "userPrincipalName", "id",
	}
}

// A Change is one entry of the feed behind delta queries.
type Change struct {
	Seq     uint64
	ID      string
	Item    Item // nil when Removed
	Removed bool
}

// feed records the order of changes of one collection.
type feed struct {
	log    []entry
	latest map[string]uint64
}

type entry struct {
	id   string
	gone bool
}

// note appends a change; sequence numbers are positions in the log plus one.
func (f *feed) note(id string, gone bool) {
	f.log = append(f.log, entry{id, gone})
	if f.latest == nil {
		f.latest = map[string]uint64{}
	}
	f.latest[id] = uint64(len(f.log))
}

// Changes calls fn for each user or group that was created, changed or
// deleted after sequence number after, oldest change first and each object
// once, at its latest change; after 0 it yields every object there is. It
// refuses with 400 for other collections. fn runs under a read lock.
func (w *World) Changes(c Collection, after uint64, fn func(Change) bool) error {
	w.rlock()
	defer w.mu.RUnlock()
	var f *feed
	switch c {
	case Users:
		f = &w.people.feed
	case Groups:
		f = &w.groups.feed
	default:
		return errBad("Delta queries are not supported on '%s'.", c)
	}
	for i := after; i < uint64(len(f.log)); i++ {
		e := f.log[i]
		// The first pass over an object that never changed again has no entry in latest.
		if last, ok := f.latest[e.id]; ok && last != i+1 {
			continue
		}
		ch := Change{Seq: i + 1, ID: e.id, Removed: e.gone}
		if !e.gone {
			ch.Item, _ = w.tables[c].find(e.id)
		}
		if e.gone && after == 0 {
			continue
		}
		if !fn(ch) {
			return nil
		}
	}
	return nil
}
