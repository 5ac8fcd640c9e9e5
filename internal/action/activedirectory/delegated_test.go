package activedirectory_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/action/activedirectory"
)

// compare asks the domain as who, and returns the findings by "where: right".
func (b *bed) compare(t *testing.T, g activedirectory.Grant) map[string]activedirectory.Finding {
	t.Helper()
	list, err := g.Compare(t.Context(), b.client)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]activedirectory.Finding{}
	for _, f := range list {
		unit, _, _ := strings.Cut(f.Where, ",")
		out[strings.TrimPrefix(unit, "OU=")+": "+f.Right] = f
	}
	return out
}

// What was delegated shows right by right; what was not is missing, what is not
// needed is too much, and what is nobody's business shows nothing at all.
func TestDelegationIsSeenRightByRight(t *testing.T) {
	t.Parallel()
	b := open(t)
	g := activedirectory.Grant{Units: []string{"OU=Staff," + b.BaseDN}, GroupsIn: []string{"OU=Groups," + b.BaseDN}}

	all := b.compare(t, g)
	for _, right := range []string{"Staff: reset password", "Staff: write userAccountControl", "Staff: write pwdLastSet", "Staff: write lockoutTime", "Groups: write member"} {
		if f := all[right]; f.State != activedirectory.RightPresent || f.On == 0 || f.On != f.Of || len(f.For) == 0 {
			t.Errorf("%s: %+v", right, f)
		}
	}
	for right, f := range all {
		if f.State == activedirectory.RightMissing || f.State == activedirectory.RightExcess {
			t.Errorf("with exactly what is delegated, %s: %+v", right, f)
		}
	}

	g.Actions = []action.Name{activedirectory.Disable}
	one := b.compare(t, g)
	if f := one["Staff: write userAccountControl"]; f.State != activedirectory.RightPresent || !slices.Equal(f.For, g.Actions) {
		t.Errorf("the action that was chosen: %+v", f)
	}
	for _, right := range []string{"Staff: reset password", "Staff: write pwdLastSet", "Staff: write lockoutTime", "Groups: write member"} {
		if f := one[right]; f.State != activedirectory.RightExcess || f.On == 0 || !strings.Contains(f.Text, "such as on ") {
			t.Errorf("not chosen, so too much, %s: %+v", right, f)
		}
	}

	g.Units = []string{"OU=Service," + b.BaseDN}
	elsewhere := b.compare(t, g)
	if f := elsewhere["Service: write userAccountControl"]; f.State != activedirectory.RightMissing || f.On != 0 {
		t.Errorf("a unit that nothing was delegated on: %+v", f)
	}
	if f := elsewhere[": outside of the units: write userAccountControl"]; f.State != activedirectory.RightExcess || !strings.Contains(f.Text, "OU=Staff") {
		t.Errorf("a right outside of the units: %+v", f)
	}

	none := b.as(t, b.Reader).compare(t, activedirectory.Grant{Actions: []action.Name{activedirectory.ResetPassword}})
	for _, right := range []string{": reset password", ": write pwdLastSet"} {
		if f := none[right]; f.State != activedirectory.RightMissing {
			t.Errorf("an account without rights, %s: %+v", right, f)
		}
	}
}

// More than single rights shows too, and so does an account that its own rights reach.
func TestDelegationThatGoesTooFar(t *testing.T) {
	t.Parallel()
	b := open(t)
	who, victim := b.take(t), b.take(t)
	grant := func(dn, rights string) string {
		return "samba-tool dsacl set --objectdn='" + dn + "' --sddl='" + strings.ReplaceAll(rights, "$", who.SID) + "'\n"
	}
	if _, err := b.Script(t.Context(), b.Controllers[0], "set -eu\n"+grant(victim.DN, "(A;;WDSD;;;$)(OA;;WP;bf967a68-0de6-11d0-a285-00aa003049e2;;$)(OA;;CR;1131f6ad-9c07-11d1-f79f-00c04fc2dcd2;;$)")+
		grant(who.DN, "(OA;;WP;bf967a68-0de6-11d0-a285-00aa003049e2;;$)")); err != nil {
		t.Fatal(err)
	}
	own := b.as(t, who)
	found := own.compare(t, activedirectory.Grant{Units: []string{victim.DN}, Actions: []action.Name{activedirectory.Disable}})
	place := strings.Split(victim.DN, ",")[0] + ": "
	if f := found[place+"write userAccountControl"]; f.State != activedirectory.RightPresent || f.On != 1 {
		t.Errorf("the one right: %+v", f)
	}
	for _, right := range []string{"change the list of rights", "delete", "replicate secrets"} {
		if f := found[place+right]; f.State != activedirectory.RightExcess {
			t.Errorf("%s: %+v", right, f)
		}
	}
	if sids, known, err := activedirectory.Takers(t.Context(), b.client, victim.GUID); err != nil || !known || !slices.Contains(sids, b.Containment.SID) || !slices.Contains(sids, who.SID) || slices.Contains(sids, b.Reader.SID) {
		// Other tests delegate on the unit too.
		t.Errorf("who could take the account over: %v %v %v, want %s and who may reset passwords there", sids, known, err, who.SID)
	}
	if sids, _, err := activedirectory.Takers(t.Context(), b.client, b.Containment.GUID); err != nil || len(sids) > 0 {
		t.Errorf("who could take Cordon's account over: %v %v", sids, err)
	}
	self := own.compare(t, activedirectory.Grant{Units: []string{who.DN}, Actions: []action.Name{activedirectory.Disable}})
	if f := self[strings.Split(who.DN, ",")[0]+": write userAccountControl"]; f.State != activedirectory.RightUnknown {
		t.Errorf("its own account is no account to be contained: %+v", f)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Values(self)), func(f activedirectory.Finding) bool {
		return f.State == activedirectory.RightExcess && strings.Contains(f.Text, "signs in with")
	}) {
		t.Errorf("its own account is not named: %+v", self)
	}
}
