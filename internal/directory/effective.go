package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Further bits of a Mask (MS-ADTS 5.1.3.2).
const (
	RightCreateChild = 0x1
	RightDeleteChild = 0x2
	RightWrite       = 0x20 // a property, named by Type
	RightDeleteTree  = 0x40
	RightDelete      = 0x10000
	RightWriteOwner  = 0x80000
)

// The bits of Effective.Control (MS-ADTS 3.1.1.4.5.22).
const (
	ControlOwner = 0x1
	ControlDACL  = 0x4
)

// Effective is what the account that the client signs in with may do to one object.
// Attributes, classes and control are as the directory itself works them out; the
// rest is for who reads the list.
type Effective struct {
	DN         string
	GUID       string
	SID        string
	Admin      bool     // adminCount: the domain takes inherited rights away from it
	Attributes []string // that may be written: allowedAttributesEffective
	Children   []string // classes of objects that may be made below it: allowedChildClassesEffective
	Control    int64    // what of the descriptor may be written: sDRightsEffective
	List       []ACE    // the discretionary list; nil with ListUnread
	ListUnread bool
}

// Writes reports whether the attribute may be written.
func (e Effective) Writes(attribute string) bool {
	return slices.ContainsFunc(e.Attributes, func(a string) bool { return strings.EqualFold(a, attribute) })
}

// The classes of objects that EffectiveOn looks at.
const (
	OfPeople = "(&" + person + ")"
	OfGroups = "(objectCategory=group)"
	Itself   = ""
)

// EffectiveOn reads what our own account may do to at most n objects below base, or
// to base itself when which is Itself. "" as base is the domain.
func (c *Client) EffectiveOn(ctx context.Context, base, which string, n int) ([]Effective, error) {
	q := Query{Base: base, Filter: which, Limit: n, Page: min(max(n, 1), 500), Descriptor: true,
		Attributes: []string{"allowedAttributesEffective", "allowedChildClassesEffective", "sDRightsEffective", "adminCount", "nTSecurityDescriptor"}}
	if which == Itself {
		q.Filter, q.One = "(objectClass=*)", true
	}
	var out []Effective
	for o, err := range c.Search(ctx, q) {
		if err != nil {
			return out, err
		}
		e := Effective{DN: o.DN, GUID: o.GUID, SID: o.SID, Admin: o.number("adminCount") > 0, Control: o.number("sDRightsEffective"), ListUnread: true}
		for _, v := range o.Values("allowedAttributesEffective") {
			e.Attributes = append(e.Attributes, string(v))
		}
		for _, v := range o.Values("allowedChildClassesEffective") {
			e.Children = append(e.Children, string(v))
		}
		slices.Sort(e.Attributes)
		slices.Sort(e.Children)
		if v := o.Values("nTSecurityDescriptor"); len(v) == 1 {
			if list, err := DACL(v[0]); err == nil {
				e.List, e.ListUnread = list, false
			}
		}
		out = append(out, e)
	}
	return out, nil
}

// Token returns the SIDs that our own account acts with: its own, those of its
// groups however deep, and those that everybody has who signed in (MS-DTYP 2.4.2.4).
// Groups that may not be read are fault.Denied.
func (c *Client) Token(ctx context.Context) ([]string, error) {
	self, err := c.Self(ctx)
	if err != nil {
		return nil, err
	}
	const everyone, signedIn, organization = "S-1-1-0", "S-1-5-11", "S-1-5-15"
	out := []string{self.SID, everyone, signedIn, organization}
	groups := 0
	for o, err := range c.Search(ctx, Query{Base: "<GUID=" + self.GUID + ">", Filter: "(objectClass=*)", One: true, Attributes: []string{"tokenGroups"}}) {
		if err != nil {
			return nil, err
		}
		for _, b := range o.Values("tokenGroups") {
			sid, err := SIDText(b)
			if err != nil {
				return nil, err
			}
			out = append(out, sid)
			groups++
		}
	}
	if groups == 0 { // every account has its primary group
		return nil, fault.Errorf(fault.Denied, "the groups of %s's own account (tokenGroups) are not shown", c.cfg.Domain)
	}
	return out, nil
}

// Allowed reports whether the list lets whoever acts with the token do what the one
// bit of right says, about what Type names: an extended right by its GUID, "" for a
// right that needs no name. The first entry that is about it decides (MS-ADTS 5.1.3.3.4).
func Allowed(list []ACE, token []string, right uint32, about string) bool {
	for _, e := range list {
		if e.Flags&ForChildren != 0 || !slices.Contains(token, e.SID) || e.Mask&(right|RightGeneric) == 0 || e.Type != "" && !strings.EqualFold(e.Type, about) {
			continue
		}
		return e.Allow
	}
	return false
}
