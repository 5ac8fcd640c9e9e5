package activedirectory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Delegation says how one right stands beside what the actions need.
type Delegation string

// How it may stand.
const (
	RightPresent Delegation = "present"
	RightMissing Delegation = "missing"
	RightExcess  Delegation = "excess"  // held, and no action needs it
	RightUnknown Delegation = "unknown" // it could not be seen, with the reason
)

// A Finding is one right of our own account in one place, as the domain itself works
// it out or its lists of rights say.
type Finding struct {
	Right string        // in words
	Where string        // distinguished name of a unit; "": the whole domain
	For   []action.Name // what needs it
	State Delegation
	On    int    // of so many objects it holds
	Of    int    // objects looked at
	Text  string // what else there is to say, such as an object that it does not reach
}

// sampled is how many objects of one class are looked at in each place.
const sampled = 50

// Extended rights of everybody who signed in, and of an account on itself: no excess.
// Source: MS-ADTS 5.1.3.2.1.
var ordinary = map[string]bool{
	"ab721a53-1e2f-11d0-9819-00aa0040529b": true, // User-Change-Password: takes the old one
	"ab721a54-1e2f-11d0-9819-00aa0040529b": true, // Send-As
	"ab721a55-1e2f-11d0-9819-00aa0040529b": true, // Send-To
	"ab721a56-1e2f-11d0-9819-00aa0040529b": true, // Receive-As
}

// Compare asks the domain what the account that client signs in with may do, and
// compares it right by right with what the grant's actions and their undos need:
// below each of its units, or anywhere in the domain when it has none. Nothing is
// changed. Administrators are left out, because delegated rights must not reach
// them; a right that does is excess, and so is one outside of the units or on our own
// account. Account and Domain of the grant are not looked at.
func (g Grant) Compare(ctx context.Context, client *directory.Client) ([]Finding, error) {
	for _, dn := range slices.Concat(g.Units, g.GroupsIn) {
		if _, err := ldap.ParseDN(dn); err != nil {
			return nil, fault.Errorf(fault.Invalid, "%.100q is not the distinguished name of a unit", dn)
		}
	}
	token, err := client.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("compare the rights that were delegated: %w", err)
	}
	c := comparison{client: client, token: token, needs: map[string][]action.Name{}}
	var all []action.Name
	for _, t := range Types(nil, nil) {
		s := t.Spec()
		if len(g.Actions) > 0 && !slices.Contains(g.Actions, s.Name) {
			continue
		}
		with := []action.Name{s.Name}
		if s.Undo != "" {
			with = append(with, s.Undo)
		}
		rights, _ := Rights(with...)
		for _, r := range rights {
			c.needs[r.GUID] = append(c.needs[r.GUID], s.Name)
		}
		all = append(all, with...)
	}
	var privileged bool
	c.rights, privileged = Rights(all...)
	units, groups := g.Units, g.GroupsIn
	if len(groups) == 0 {
		groups = units
	}
	if len(units) == 0 {
		units = []string{""}
	}
	if len(groups) == 0 {
		groups = []string{""}
	}
	for _, p := range []struct {
		in    []string
		which string
		class string
	}{{units, directory.OfPeople, "user"}, {groups, directory.OfGroups, "group"}} {
		for _, dn := range p.in {
			if err := c.place(ctx, dn, p.which, p.class); err != nil {
				return c.out, fmt.Errorf("compare the rights that were delegated: %w", err)
			}
		}
	}
	if len(g.Units) > 0 {
		if err := c.outside(ctx, g.Units); err != nil {
			return c.out, fmt.Errorf("compare the rights that were delegated: %w", err)
		}
	}
	if privileged {
		c.out = append(c.out, Finding{Right: "the privilege " + EnableDelegation, State: RightUnknown, For: []action.Name{ClearDelegation, RestoreDelegation},
			Text: "each controller gives it by itself, and none shows it over LDAP"})
	}
	return c.out, nil
}

// A comparison is one run of Compare.
type comparison struct {
	client *directory.Client
	token  []string
	rights []Right
	needs  map[string][]action.Name // by the right's GUID
	seen   bool                     // our own account was met
	out    []Finding
}

// place compares the rights on objects of one class below a unit, and on the unit.
func (c *comparison) place(ctx context.Context, dn, which, class string) error {
	list, err := c.client.EffectiveOn(ctx, dn, which, sampled)
	if err != nil {
		return err
	}
	rights := slices.DeleteFunc(slices.Clone(c.rights), func(r Right) bool { return r.Class != class })
	var reached []directory.Effective
	more := excesses{}
	for _, e := range list {
		switch {
		case e.SID == c.token[0]:
			c.own(e)
		case e.Admin:
			more.add(e, "on administrators: ", c.held(e, rights)...)
		default:
			reached = append(reached, e)
			more.add(e, "", c.surplus(e, rights)...)
		}
	}
	for _, r := range rights {
		c.out = append(c.out, c.right(r, dn, reached))
	}
	if dn != "" {
		base, err := c.client.EffectiveOn(ctx, dn, directory.Itself, 1)
		if err != nil {
			return err
		}
		for _, e := range base {
			if e.SID == c.token[0] {
				continue
			}
			more.add(e, "on the unit itself: ", c.surplus(e, nil)...)
		}
	}
	c.out = append(c.out, more.findings(dn)...)
	return nil
}

// right says on how many of the objects one right is held.
func (c *comparison) right(r Right, dn string, list []directory.Effective) Finding {
	f := Finding{Right: r.short(), Where: dn, For: c.needs[r.GUID], Of: len(list)}
	without, unread := "", false
	for _, e := range list {
		switch held, known := c.holds(e, r); {
		case !known:
			unread = true
		case held:
			f.On++
		default:
			without = cmp.Or(without, e.DN)
		}
	}
	switch {
	case f.Of == 0:
		f.State, f.Text = RightUnknown, "there is no "+r.Class+" to look at"
	case unread && without == "":
		f.State, f.Text = RightUnknown, "the list of rights may not be read"
	case f.On == 0, dn != "" && without != "":
		f.State = RightMissing
		if f.On > 0 {
			f.Text = "not on " + without
		}
	default:
		f.State = RightPresent
	}
	return f
}

// holds reports whether the right is held on the object; known is false when the
// object does not show it.
func (c *comparison) holds(e directory.Effective, r Right) (held, known bool) {
	if r.Extended == "" {
		// Samba leaves attributes that are descriptors themselves out of the effective ones.
		return e.Writes(r.Attribute) || directory.Allowed(e.List, c.token, directory.RightWrite, r.GUID), true
	}
	return directory.Allowed(e.List, c.token, directory.RightControl, r.GUID), !e.ListUnread
}

// held names those of the rights that are held on the object.
func (c *comparison) held(e directory.Effective, rights []Right) (out []string) {
	for _, r := range rights {
		if ok, _ := c.holds(e, r); ok {
			out = append(out, r.short())
		}
	}
	return append(out, c.surplus(e, rights)...)
}

// surplus names what may be done to the object beyond the rights.
func (c *comparison) surplus(e directory.Effective, rights []Right) (out []string) {
	needed := func(guid, attribute string) bool {
		return slices.ContainsFunc(rights, func(r Right) bool {
			return attribute != "" && strings.EqualFold(r.Attribute, attribute) || guid != "" && strings.EqualFold(r.GUID, guid)
		})
	}
	for _, a := range e.Attributes {
		if !needed("", a) {
			out = append(out, "write "+a)
		}
	}
	for _, k := range e.Children {
		out = append(out, "make objects of class "+k)
	}
	if e.Control&directory.ControlOwner != 0 {
		out = append(out, "take ownership")
	}
	if e.Control&directory.ControlDACL != 0 {
		out = append(out, "change the list of rights")
	}
	for _, k := range []struct {
		bit  uint32
		name string
	}{{directory.RightDelete, "delete"}, {directory.RightDeleteTree, "delete with all below"}, {directory.RightDeleteChild, "delete objects below"}} {
		if directory.Allowed(e.List, c.token, k.bit, "") {
			out = append(out, k.name)
		}
	}
	for _, a := range e.List {
		if !a.Allow || a.Flags&directory.ForChildren != 0 || a.Mask&directory.RightControl == 0 || !slices.Contains(c.token, a.SID) {
			continue
		}
		switch {
		case a.Type == "":
			out = append(out, "every extended right")
		case !ordinary[strings.ToLower(a.Type)] && !needed(a.Type, ""):
			out = append(out, extended(a.Type))
		}
	}
	return out
}

// own says what the account may do to itself: what Cordon's actions write should be
// out of its own reach, because whoever takes the account could undo what was done
// to it.
func (c *comparison) own(e directory.Effective) {
	if c.seen {
		return
	}
	c.seen = true
	var held []string
	for _, r := range c.rights {
		if ok, known := c.holds(e, r); ok && known && r.Class == "user" {
			held = append(held, r.short())
		}
	}
	if e.Control&directory.ControlDACL != 0 {
		held = append(held, "change the list of rights")
	}
	if len(held) > 0 {
		c.out = append(c.out, Finding{Right: "on itself: " + join(held), Where: e.DN, State: RightExcess, On: 1, Of: 1, Text: "on the account that Cordon signs in with: keep it outside of the units in scope"})
	}
}

// outside looks at accounts outside of the units: no right of the actions should
// reach them.
func (c *comparison) outside(ctx context.Context, units []string) error {
	list, err := c.client.EffectiveOn(ctx, "", directory.OfPeople, sampled)
	if err != nil {
		return err
	}
	more := excesses{}
	for _, e := range list {
		if e.SID == c.token[0] {
			c.own(e)
			continue
		}
		if !slices.ContainsFunc(units, func(dn string) bool { return below(e.DN, dn) }) {
			more.add(e, "outside of the units: ", c.held(e, c.rights)...)
		}
	}
	c.out = append(c.out, more.findings("")...)
	return nil
}

// below reports whether an object lies below a unit.
func below(dn, unit string) bool {
	a, err := ldap.ParseDN(dn)
	if err != nil {
		return false
	}
	b, err := ldap.ParseDN(unit)
	return err == nil && b.AncestorOfFold(a)
}

// excesses count the objects on which more is held than is needed, by what.
type excesses map[string]*Finding

func (x excesses) add(e directory.Effective, where string, rights ...string) {
	slices.Sort(rights)
	for _, r := range slices.Compact(rights) {
		f := x[where+r]
		if f == nil {
			f = &Finding{Right: where + r, State: RightExcess, Text: "such as on " + e.DN}
			x[where+r] = f
		}
		f.On++
	}
}

// findings lists them by their words.
func (x excesses) findings(dn string) (out []Finding) {
	for _, f := range x {
		f.Where, f.Of = dn, f.On
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b Finding) int { return cmp.Compare(a.Right, b.Right) })
	return out
}

func (r Right) short() string {
	if r.Extended != "" {
		return strings.ToLower(r.Extended)
	}
	return "write " + r.Attribute
}

// extended names an extended right that is met often, else by its GUID. Source: MS-ADTS 5.1.3.2.1.
func extended(guid string) string {
	switch strings.ToLower(guid) {
	case forceChange:
		return strings.ToLower(resetInWindows)
	case "1131f6aa-9c07-11d1-f79f-00c04fc2dcd2":
		return "replicate changes"
	case "1131f6ad-9c07-11d1-f79f-00c04fc2dcd2":
		return "replicate secrets"
	}
	return "the extended right " + strings.ToLower(guid)
}

// Takers returns the SIDs of whoever could take our own account over by its list of
// rights, sorted: set its password, give it a key, or change who may. What every
// domain gives to its own administrators is left out. known is false when the list
// may not be read.
func Takers(ctx context.Context, client *directory.Client, self string) (sids []string, known bool, err error) {
	list, err := client.EffectiveOn(ctx, "<GUID="+self+">", directory.Itself, 1)
	if err != nil || len(list) != 1 || list[0].ListUnread {
		return nil, false, err
	}
	return slices.DeleteFunc(takers(list[0].List), func(sid string) bool { return sid == list[0].SID }), true, nil
}

func takers(list []directory.ACE) (sids []string) {
	const genericWrite = 0x40000000
	for _, e := range list {
		if !e.Allow || e.Flags&directory.ForChildren != 0 || administrative(e.SID) {
			continue
		}
		about := func(guid string) bool { return e.Type == "" || strings.EqualFold(e.Type, guid) }
		if e.Mask&(directory.RightGeneric|directory.RightWriteDAC|directory.RightWriteOwner|genericWrite) != 0 ||
			e.Mask&directory.RightControl != 0 && about(forceChange) || e.Mask&directory.RightWrite != 0 && about(attributeGUIDs[keyCredentials]) {
			sids = append(sids, e.SID)
		}
	}
	slices.Sort(sids)
	return slices.Compact(sids)
}

// administrative reports whether a SID is one that every domain gives rights over all
// accounts: the system, administrators of domain and forest, account operators, the
// keepers of keys; or the account itself. Source: MS-DTYP 2.4.2.4.
func administrative(sid string) bool {
	switch sid {
	case "S-1-5-18", "S-1-5-10", "S-1-5-9", "S-1-3-0", "S-1-5-32-544", "S-1-5-32-548":
		return true
	}
	n := strings.LastIndexByte(sid, '-')
	return strings.HasPrefix(sid, "S-1-5-21-") && slices.Contains([]string{"512", "518", "519", "526", "527"}, sid[n+1:])
}
