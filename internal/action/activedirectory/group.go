package activedirectory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// ParamGroup names the group: its SID, its objectGUID or its sAMAccountName.
const ParamGroup = "group"

// member takes an account out of one group, or puts it in: the group's value that
// names the account and no other. What the account is a member of by way of another
// group is said and stays.
type member struct {
	*domain
	want bool
}

var (
	_ action.Type   = (*member)(nil)
	_ action.Undoer = (*member)(nil)
)

// A membership is the part of a recorded state that is about the group.
type membership struct {
	GUID   string `json:"objectGUID"`
	Name   string `json:"name"`
	Direct bool   `json:"direct"`
}

func (m *member) Spec() action.Spec {
	s := action.Spec{
		Version: 1, Provider: identity.ActiveDirectory,
		Permissions: []string{"Read and write member of group objects in the organisational units in scope"},
		Params:      action.Params{{Name: ParamGroup, Type: "string", Required: true, Text: "The group: its SID, its objectGUID, or its sAMAccountName."}},
		Proof:       "The group's `member` names the account, or does not, as wanted on every writable domain controller.",
		// A membership takes questions of its own, unlike an account's attributes.
		Batch: batch, Bucket: Bucket, ReadBatch: batch, Propagation: propagation, Within: within,
	}
	if m.want {
		s.Name, s.Undo, s.Effect = AddToGroup, RemoveFromGroup, action.EffectRelease
		s.Title, s.Summary = "Add the account to a group in Active Directory", "The account is a direct member of the group."
		s.Limits = "It counts from the account's next sign-in on. A membership that had an end gets none. Protected Users breaks services and cached sign-in of its members."
		return s
	}
	s.Name, s.Undo, s.Effect = RemoveFromGroup, AddToGroup, action.EffectRestrict
	s.Title, s.Summary = "Remove the account from a group in Active Directory", "The account is no direct member of the group any more."
	s.Limits = "Sessions and Kerberos tickets that are open carry the membership to their end (10 hours by default). A membership by way of another group stays, as does the primary group."
	return s
}

var (
	accountOfMember = slices.Concat(attributes, []string{"primaryGroupID"})
	groupOfMember   = []string{"sAMAccountName", "isCriticalSystemObject", effective}
)

func (m *member) Look(ctx context.Context, reqs []action.Request) []action.Look {
	looks := m.look(ctx, reqs, func(account) string { return "" }, func(account) (string, bool) { return "", false })
	var ask []directory.Membership
	var of []int
	type answer struct {
		guid string
		err  error
	}
	groups := map[string]answer{} // by what the request calls it
	for n, r := range reqs {
		l := &looks[n]
		if l.Err != nil || l.Refuse != "" {
			continue
		}
		b, _ := recorded(l.State)
		called, ok := r.Params[ParamGroup].(string)
		known, asked := groups[called]
		if !ok || !asked {
			known.guid, known.err = m.group(ctx, r)
			groups[called] = known
		}
		group, err := known.guid, known.err
		switch {
		case errors.Is(err, fault.Invalid), errors.Is(err, fault.NotFound), errors.Is(err, fault.Conflict):
			l.Refuse = short(err.Error(), 200)
			continue
		case err != nil:
			l.Err = fmt.Errorf("look for the group: %w", err)
			continue
		}
		ask, of = append(ask, directory.Membership{Account: b.GUID, Group: group}), append(of, n)
	}
	if len(ask) == 0 {
		return looks
	}
	seen, err := m.client.Members(ctx, ask, accountOfMember, groupOfMember)
	for i, n := range of {
		l := &looks[n]
		if err != nil {
			l.Err = fmt.Errorf("look at the membership: %w", err)
			continue
		}
		m.judge(ctx, l, ask[i].Group, seen.DC, seen.Bonds[i])
	}
	return looks
}

// judge completes a Look with what one controller shows of the membership.
func (m *member) judge(ctx context.Context, l *action.Look, guid, dc string, bond directory.Bond) {
	switch {
	case bond.Err != nil:
		l.Err = bond.Err
		return
	case bond.Account == nil:
		l.Refuse = "Active Directory has no such account any more"
		return
	case bond.Group == nil || !bond.Group.Is("group"):
		l.Refuse = "Active Directory has no such group"
		return
	}
	name, _ := bond.Group.Text("sAMAccountName")
	writable := slices.ContainsFunc(bond.Group.Values(effective), func(v []byte) bool { return strings.EqualFold(string(v), "member") })
	through, err := m.through(ctx, *bond.Account, *bond.Group)
	primary := primaryOf(*bond.Account) == bond.Group.SID
	switch {
	case err != nil:
		l.Err = fmt.Errorf("look for nested memberships: %w", err)
		return
	case primary:
		l.Refuse = "it is the account's primary group, which has no value to remove: another one has to be made primary first"
	case bond.Direct == m.want && !writable: // what is not seen may only be hidden
		l.Err = hidden(*bond.Group, "member")
		return
	case !m.want && !bond.Direct && len(through) > 0:
		l.Refuse = "no direct member of " + short(name, 64) + ", but by way of " + join(through) + ": remove it there"
	}
	b, _ := recorded(l.State)
	b.DC, b.Group = dc, &membership{guid, name, bond.Direct}
	l.State = encode(b)
	if l.Refuse != "" {
		return
	}
	l.Already = bond.Direct == m.want
	l.Text = bondText(bond.Direct, name)
	if len(through) > 0 {
		l.Text += "; also by way of " + join(through) + ", which stays"
	}
	l.Text += (account{Object: *bond.Account}).note()
}

// primaryOf is the SID of an account's primary group: of its own domain, with the
// RID that the account names (MS-ADTS 3.1.1.4.5.19).
func primaryOf(a directory.Object) string {
	rid, ok := a.Text("primaryGroupID")
	cut := strings.LastIndexByte(a.SID, '-')
	if !ok || cut < 0 {
		return ""
	}
	return a.SID[:cut+1] + rid
}

// inChain matches memberships along groups in groups (MS-ADTS 3.1.1.3.4.4.3).
const inChain = "1.2.840.113556.1.4.1941"

// through returns the groups that the account is a direct member of and that are in
// the group, directly or not; at most five of them.
func (m *member) through(ctx context.Context, a, group directory.Object) ([]string, error) {
	var out []string
	filter := "(&(objectClass=group)(member=" + ldap.EscapeFilter(a.DN) + ")(memberOf:" + inChain + ":=" + ldap.EscapeFilter(group.DN) + "))"
	for o, err := range m.client.Search(ctx, directory.Query{Filter: filter, Attributes: []string{"sAMAccountName"}}) {
		if err != nil {
			return nil, err
		}
		name, _ := o.Text("sAMAccountName")
		if out = append(out, short(name, 64)); len(out) == 5 {
			break
		}
	}
	return out, nil
}

// group returns the objectGUID of the group that the request names.
func (m *member) group(ctx context.Context, r action.Request) (string, error) {
	name, _ := r.Params[ParamGroup].(string)
	if name == "" || len(name) > 256 || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return "", fault.Errorf(fault.Invalid, "the group is not named: its SID, its objectGUID or its sAMAccountName is wanted")
	}
	filter := "(sAMAccountName=" + ldap.EscapeFilter(name) + ")"
	if b, err := directory.GUIDBytes(name); err == nil {
		return directory.GUIDText(b)
	}
	if _, err := directory.SIDBytes(name); err == nil {
		filter = "(objectSid=" + ldap.EscapeFilter(name) + ")"
	}
	var found []directory.Object
	for o, err := range m.client.Search(ctx, directory.Query{Filter: "(&(objectClass=group)" + filter + ")"}) {
		if err != nil {
			return "", err
		}
		found = append(found, o)
	}
	switch len(found) {
	case 0:
		return "", fault.Errorf(fault.NotFound, "there is no group %.80q", name)
	case 1:
		return found[0].GUID, nil
	}
	return "", fault.Errorf(fault.Conflict, "%d groups are called %.80q: name one by its SID", len(found), name)
}

func (m *member) Do(ctx context.Context, reqs []action.Request) []action.Outcome {
	return each(reqs, func(r action.Request) action.Outcome {
		b, ok := recorded(r.Before)
		if !ok || b.Group == nil {
			return action.Outcome{Verdict: action.Refused, Reason: "no state was recorded before: there is nothing to compare with"}
		}
		guid, err := directory.GUIDBytes(b.GUID)
		if err != nil {
			return action.Outcome{Verdict: action.Refused, Reason: err.Error()}
		}
		id, err := directory.GUIDText(guid)
		if err != nil {
			return action.Outcome{Verdict: action.Refused, Reason: err.Error()}
		}
		op := directory.Delete
		if m.want {
			op = directory.Add
		}
		dc, err := m.client.Modify(ctx, directory.Modification{GUID: b.Group.GUID, Changes: []directory.Change{{Op: op, Attribute: "member", Values: []string{"<GUID=" + id + ">"}}}})
		// Windows answers "unwilling" where a value is there already or is not (ERROR_MEMBER_IN_GROUP).
		if errors.Is(err, fault.Conflict) || errors.Is(err, fault.Invalid) {
			v, e := m.client.Members(ctx, []directory.Membership{{Account: b.GUID, Group: b.Group.GUID}}, nil, nil)
			if e == nil && v.Bonds[0].Err == nil && v.Bonds[0].Group != nil && v.Bonds[0].Account != nil && v.Bonds[0].Direct == m.want {
				return action.Outcome{Verdict: action.Accepted, Reason: "it was so already", RequestID: v.DC}
			}
		}
		out := outcome(dc, err)
		if errors.Is(err, fault.NotFound) {
			out.Reason = "Active Directory has the account or the group no more"
		}
		return out
	})
}

func (m *member) ReadBack(ctx context.Context, reqs []action.Request) []action.Reading {
	out := make([]action.Reading, len(reqs))
	var ask []directory.Membership
	var of []int
	for n, r := range reqs {
		b, ok := recorded(r.Before)
		if !ok || b.Group == nil {
			out[n].Err = fault.Errorf(fault.Invalid, "read the membership back: no state was recorded before")
			continue
		}
		ask, of = append(ask, directory.Membership{Account: b.GUID, Group: b.Group.GUID}), append(of, n)
	}
	if len(ask) == 0 {
		return out
	}
	views, err := m.client.MembersEverywhere(ctx, ask, attributes, groupOfMember)
	if err == nil && ctx.Err() != nil {
		err = fault.Errorf(fault.Unavailable, "the reading was ended: %w", context.Cause(ctx))
	}
	for i, n := range of {
		if err != nil {
			out[n].Err = fmt.Errorf("read the membership back: %w", err)
			continue
		}
		seen := make([]sighting, len(views))
		for j, v := range views {
			seen[j] = m.sight(v, i)
		}
		if out[n] = m.reading(seen); !m.want {
			out[n] = remaining(reqs[n], out[n])
		}
	}
	return out
}

func (m *member) sight(v directory.Bonds, i int) sighting {
	s := sighting{dc: v.DC, err: v.Err}
	if s.err != nil {
		return s
	}
	bond := v.Bonds[i]
	switch s.err = bond.Err; {
	case s.err != nil:
	case bond.Account == nil:
		s.text = "the account is not there"
	case bond.Group == nil:
		s.text = "the group is not there"
	default:
		var a account
		if a, s.err = read(*bond.Account); s.err != nil {
			return s
		}
		name, _ := bond.Group.Text("sAMAccountName")
		b, _ := recorded(a.state())
		b.Group = &membership{bond.Group.GUID, name, bond.Direct}
		s.state, s.holds, s.text = encode(b), bond.Direct == m.want, bondText(bond.Direct, name)
	}
	return s
}

// Undo names the group by what never changes, unless it was so already.
func (m *member) Undo(r json.RawMessage) (map[string]any, bool) {
	b, ok := recorded(r)
	if !ok || b.Group == nil || b.Group.Direct == m.want {
		return nil, false
	}
	return map[string]any{ParamGroup: b.Group.GUID}, true
}

func bondText(direct bool, group string) string {
	if direct {
		return "direct member of " + short(group, 64)
	}
	return "no direct member of " + short(group, 64)
}
