package hybrid

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/lab/addc"
	"github.com/seed-f47efad2/cordon/lab/world"
)

var lab = addc.NewLab(addc.Options{DCs: 2, People: 20})

func TestMain(m *testing.M) {
	code := m.Run()
	lab.Close()
	os.Exit(code)
}

// TestHybrid plays everything on one domain and one tenant, because each takes
// seconds to start. The parts touch different people.
func TestHybrid(t *testing.T) {
	d := lab.Alone(t)
	s := newScene(t, d)
	s.doctor(t)
	s.doctorNames(t)
	s.lookUp(t)
	s.serve(t)
	// Alone, because the synchronisation brings everybody's state at once.
	t.Run("a sync fight ends at the source", s.syncFight)
	// Alone, because they change what holds for everybody.
	t.Run("of the last two Domain Admins one stays", s.lastTwo)
	t.Run("unconfirmed while replication is stopped", s.replicationStopped)
	for name, part := range map[string]func(*testing.T){
		"contained at the source":           s.containedAtTheSource,
		"reset on the authoritative side":   s.resetWhereItCounts,
		"an account on premises alone":      s.onPremisesAlone,
		"protected on both sides":           s.protectedOnBothSides,
		"the last Domain Admin stays":       s.lastAdmin,
		"a takeover by matching is refused": s.takeover,
		"a containment that does not hold":  s.contradicted,
		"a domain that is not connected":    s.foreign,
		"hostile names are nobody's":        s.hostileNames,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t)
		})
	}
}

const dcsync = "Suspected DCSync attack (replication of directory services)"

func (s *scene) alert(t *testing.T, who string) {
	t.Helper()
	s.happen(t, world.Event{Type: world.EventAlert, Title: dcsync, User: who, Device: "SRV01", Destination: "DC01", IPAddress: "10.20.4.31"})
}

// containedAtTheSource: a synchronised person, from an alert to the proof, and back.
func (s *scene) containedAtTheSource(t *testing.T) {
	p := s.person(t)
	s.can(t, p, true)
	s.alert(t, p.SID)
	r := s.ends(t, p.name, "dcsync", "contained")
	if got, want := r.done(), []string{"confirm entra.user.confirm_compromised", "disable ad.account.disable", "disable-cloud entra.user.disable", "revoke entra.user.revoke_sessions",
		"reset ad.account.reset_password", "revoke-again entra.user.revoke_sessions"}; !slices.Equal(got, want) {
		t.Errorf("verified, in order: %q, want %q", got, want)
	}
	s.inOrder(t, r)
	if uac := s.read(t, p.DN, "userAccountControl"); uac != "514" {
		t.Errorf("userAccountControl %s, want 514", uac)
	}
	u := s.user(t, p.id)
	if u.AccountEnabled || u.SessionRevocations != 2 || u.PasswordResets != 0 {
		t.Errorf("the cloud side: %+v", u)
	}
	s.can(t, p, false)

	// Undone, both sides are open again; the password is gone for good.
	s.post(t, "/runs/"+r.Run.ID+"/undo", map[string]any{"reason": "a drill"})
	s.until(t, "both sides are enabled again", func() bool {
		return s.read(t, p.DN, "userAccountControl") == "512" && s.user(t, p.id).AccountEnabled
	})
	s.can(t, p, false)
}

// resetWhereItCounts: what leaked is reset in Active Directory, twice, and never in
// the cloud, where it would not reach the source.
func (s *scene) resetWhereItCounts(t *testing.T) {
	p := s.person(t)
	before := s.read(t, p.DN, "pwdLastSet")
	s.happen(t, world.Event{Type: world.EventDetection, User: p.id, RiskEventType: "leakedCredentials", RiskLevel: "high"})
	r := s.ends(t, p.name, "leaked-credentials", "contained")
	if got, want := r.done(), []string{"confirm entra.user.confirm_compromised", "reset ad.account.reset_password", "revoke entra.user.revoke_sessions"}; !slices.Equal(got, want) {
		t.Errorf("verified, in order: %q, want %q", got, want)
	}
	if after := s.read(t, p.DN, "pwdLastSet"); after <= before || after == "0" {
		t.Errorf("pwdLastSet was %s and is %s", before, after)
	}
	if u := s.user(t, p.id); u.PasswordResets != 0 {
		t.Errorf("the cloud password was reset %d times", u.PasswordResets)
	}
	s.can(t, p, false)
	if uac := s.read(t, p.DN, "userAccountControl"); uac != "512" {
		t.Errorf("userAccountControl %s: a leaked password is no reason to disable", uac)
	}
}

// onPremisesAlone: a service's account that the cloud knows nothing of.
func (s *scene) onPremisesAlone(t *testing.T) {
	p := s.service
	s.alert(t, p.SID)
	r := s.ends(t, p.name, "dcsync", "contained")
	if got, want := r.done(), []string{"disable ad.account.disable", "reset ad.account.reset_password"}; !slices.Equal(got, want) {
		t.Errorf("verified, in order: %q, want %q", got, want)
	}
	s.can(t, p, false)
}

// protectedOnBothSides: nothing is changed on either side, and the refusal says why.
func (s *scene) protectedOnBothSides(t *testing.T) {
	for _, c := range []struct {
		dn, sid, why string
	}{
		{s.Containment.DN, s.Containment.SID, "one of Cordon's own accounts"},
		{s.Admin.DN, s.Admin.SID, "built-in Administrator"},
		{"CN=krbtgt,CN=Users," + s.BaseDN, s.krbtgt, "krbtgt"},
		{"CN=DC1,OU=Domain Controllers," + s.BaseDN, s.controller, "domain controller"},
		{s.synchroniser.DN, s.synchroniser.SID, "directory-synchronisation"},
	} {
		before := s.read(t, c.dn, "userAccountControl") + s.read(t, c.dn, "pwdLastSet")
		s.alert(t, c.sid)
		s.until(t, c.why+" is refused", func() bool {
			for _, r := range s.runs(t) {
				if r.State == "refused" && r.Playbook == "dcsync" && strings.Contains(r.Reason, c.why) {
					return true
				}
			}
			return false
		})
		if after := s.read(t, c.dn, "userAccountControl") + s.read(t, c.dn, "pwdLastSet"); after != before {
			t.Errorf("%s was changed: %s became %s", c.why, before, after)
		}
	}
}

// lastAdmin: one of two members of Domain Admins waits for a person and is then
// refused by the directory itself; the only one of Enterprise Admins is not even
// asked about.
func (s *scene) lastAdmin(t *testing.T) {
	p := s.tier0
	s.alert(t, p.SID)
	var asked string
	s.until(t, "somebody is asked about a Domain Admin", func() bool {
		for _, r := range s.runs(t) {
			if r.Playbook == "dcsync" && r.Name == p.name && r.State == "waiting" {
				asked = r.ID
			}
		}
		return asked != ""
	})
	for _, a := range s.show(t, asked).Approvals {
		s.post(t, "/approvals/"+a.ID+"/approve", map[string]any{"planHash": a.PlanHash})
	}
	var r runView
	s.until(t, "the directory has refused it", func() bool {
		r = s.show(t, asked)
		return strings.Contains(fmt.Sprint(r.Steps), "has no right to do this")
	})
	if uac := s.read(t, p.DN, "userAccountControl"); uac != "512" {
		t.Errorf("userAccountControl of the Domain Admin is %s", uac)
	}
	s.alert(t, s.lone.SID)
	s.until(t, "the last Enterprise Admin is refused", func() bool {
		for _, r := range s.runs(t) {
			if r.State == "refused" && r.Playbook == "dcsync" && strings.Contains(r.Reason, "the last member of Enterprise Admins that can sign in") && r.Name == s.lone.name {
				return true
			}
		}
		return false
	})
	if uac := s.read(t, s.lone.DN, "userAccountControl"); uac != "512" {
		t.Errorf("userAccountControl of the last Enterprise Admin is %s", uac)
	}
}

// foreign: a person synchronised from a domain that nobody connected. What can be
// done in the cloud is done; what cannot be done at the source says so.
func (s *scene) foreign(t *testing.T) {
	yes, no := true, false
	p, err := s.world.Pick(world.Pick{Kind: world.KindMember, Synced: &yes, Privileged: &no, Eligible: &no, Index: 30})
	if err != nil {
		t.Fatal(err)
	}
	s.happen(t, world.Event{Type: world.EventDetection, User: p.UserID, RiskEventType: "leakedCredentials", RiskLevel: "high"})
	var r runView
	s.until(t, "the source is named as not connected", func() bool {
		for _, x := range s.runs(t) {
			if x.Playbook == "leaked-credentials" && x.Name == p.DisplayName && x.State == "held" && strings.Contains(x.Reason, "of another domain than those configured") {
				r = s.show(t, x.ID)
			}
		}
		return len(r.done()) == 2
	})
	if got, want := r.done(), []string{"confirm entra.user.confirm_compromised", "revoke entra.user.revoke_sessions"}; !slices.Equal(got, want) {
		t.Errorf("verified, in order: %q, want %q", got, want)
	}
}

// takeover: the cloud account's two strong keys name two accounts on premises.
func (s *scene) takeover(t *testing.T) {
	p, victim := s.stranger, s.victim
	s.happen(t, world.Event{Type: world.EventDetection, User: p.id, RiskEventType: "leakedCredentials", RiskLevel: "high"})
	s.until(t, "the plan is refused", func() bool {
		for _, r := range s.runs(t) {
			if r.State == "refused" && strings.Contains(r.Reason, "identifiers disagree") && strings.Contains(r.Reason, victim.SAM) {
				return true
			}
		}
		return false
	})
	if u := s.user(t, p.id); u.SessionRevocations != 0 || !u.AccountEnabled {
		t.Errorf("the cloud side was changed: %+v", u)
	}
	var trail struct{ Items []struct{ Text string } }
	if err := s.api(t.Context(), http.MethodGet, "/audit?kind=identity.conflict&limit=100", nil, &trail); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(trail.Items, func(x struct{ Text string }) bool {
		return strings.Contains(x.Text, "disagree") && strings.Contains(x.Text, victim.SAM)
	}) {
		t.Errorf("the trail raises no alarm: %+v", trail.Items)
	}
	s.can(t, p, true)
	s.can(t, victim, true)
}

// syncFight: the cloud side alone is disabled, the synchronisation brings it back,
// and that is seen, named and ended in Active Directory.
func (s *scene) syncFight(t *testing.T) {
	p := s.person(t)
	s.happen(t, world.Event{Type: world.EventDetection, User: p.id, RiskEventType: "newCountry", RiskLevel: "low"})
	id := s.identity(t, p)
	s.post(t, "/identities/"+id+"/start", map[string]any{"playbook": "cloud-only", "reason": "the domain's owner is asleep"})
	s.ends(t, p.name, "cloud-only", "contained")
	if u := s.user(t, p.id); u.AccountEnabled {
		t.Fatal("the cloud side is not disabled")
	}
	s.can(t, p, true) // on premises nothing has changed
	s.synchronise(t, p)
	if u := s.user(t, p.id); !u.AccountEnabled {
		t.Fatal("the synchronisation did not bring back what Active Directory says")
	}
	s.ends(t, p.name, "sync-fight", "contained")
	if uac := s.read(t, p.DN, "userAccountControl"); uac != "514" {
		t.Errorf("userAccountControl %s, want 514", uac)
	}
	s.can(t, p, false)
	s.synchronise(t, p)
	if u := s.user(t, p.id); u.AccountEnabled {
		t.Error("after the next synchronisation the cloud side is enabled")
	}
	var signals struct {
		Items []struct{ Title, Type string }
	}
	if err := s.api(t.Context(), http.MethodGet, "/signals?limit=500", nil, &signals); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(signals.Items, func(x struct{ Title, Type string }) bool {
		return x.Type == "syncFight" && strings.Contains(x.Title, "synchronisation enabled an account again")
	}) {
		t.Errorf("no signal names it: %+v", signals.Items)
	}
}

// can says whether an outsider signs in as p with the password that everybody
// knows, over Kerberos, LDAP and SMB.
func (s *scene) can(t *testing.T, p hybrid, want bool) {
	t.Helper()
	s.canOn(t, s.Controllers[0], p, want)
}

func (s *scene) canOn(t *testing.T, c *addc.DC, p hybrid, want bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for name, try := range map[string]func() (addc.Logon, error){
		"kinit":     func() (addc.Logon, error) { return s.Kinit(ctx, c, p.SAM, p.Password) },
		"LDAP bind": func() (addc.Logon, error) { return s.Bind(ctx, c, p.UPN, p.Password) },
		"SMB":       func() (addc.Logon, error) { return s.SMB(ctx, c, p.SAM, p.Password) },
	} {
		got, err := try()
		if err != nil {
			t.Fatal(err)
		}
		if got.OK != want {
			t.Errorf("%s as %s: %v (%s), want %v", name, p.SAM, got.OK, got.Text, want)
		}
	}
}
