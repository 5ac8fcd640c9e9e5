package app

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/action"
	actionad "github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	actionentraid "github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

func TestContainmentThatDoesNotHoldIsTold(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return now.Add(-time.Hour).Add(d) }
	onPrem := identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1104"}
	cloud := identity.Ref{Provider: identity.EntraID, ObjectID: "aaaaaaaa-0000-4000-8000-000000000001", SID: onPrem.SID}
	done := func(id action.ID, name action.Name, ref identity.Ref, change ...func(*action.Action)) action.Action {
		a := action.Action{ID: id, Name: name, Account: ref, State: action.Verified, RequestedAt: at(-time.Minute), VerifiedAt: at(0)}
		for _, f := range change {
			f(&a)
		}
		return a
	}
	logon := record.Record{Source: record.Logon, ExternalID: "l", Type: "4624", Title: "sign-in to LDAP", At: at(5 * time.Minute), Result: record.Success, Subject: identity.Ref{SID: onPrem.SID}, IP: "192.0.2.7"}
	signIn := record.Record{Source: record.SignIn, ExternalID: "s", Type: "interactiveUser", At: at(5 * time.Minute), Result: record.Success, Subject: identity.Ref{ObjectID: cloud.ObjectID}}
	enabled := record.Record{Source: record.DirectoryChange, ExternalID: "e", Type: "4722", Title: "account enabled", At: at(5 * time.Minute), Result: record.Success,
		Subject: identity.Ref{SAM: "ben"}, Others: []record.Party{{Role: "target", Ref: identity.Ref{SID: onPrem.SID}}}}
	audit := record.Record{Source: record.DirectoryAudit, ExternalID: "a", Type: "Enable account", At: at(5 * time.Minute), Result: record.Success, Others: []record.Party{{Ref: identity.Ref{ObjectID: cloud.ObjectID}}}}
	with := func(r record.Record, f func(*record.Record)) record.Record { f(&r); return r }
	disabled := []action.Action{done("act_1", actionad.Disable, onPrem)}
	for name, c := range map[string]struct {
		actions []action.Action
		records []record.Record
		want    []string
	}{
		"a logon after a disable":             {disabled, []record.Record{logon, with(logon, func(r *record.Record) { r.At = at(6 * time.Minute) })}, []string{"signInAfterContainment/act_1"}},
		"a failed one":                        {disabled, []record.Record{with(logon, func(r *record.Record) { r.Result = record.Failure })}, nil},
		"one before it":                       {disabled, []record.Record{with(logon, func(r *record.Record) { r.At = at(-time.Second) })}, nil},
		"one within the clocks' difference":   {disabled, []record.Record{with(logon, func(r *record.Record) { r.At = at(30 * time.Second) })}, nil},
		"somebody else's":                     {disabled, []record.Record{with(logon, func(r *record.Record) { r.Subject.SID += "5" })}, nil},
		"a name alone":                        {disabled, []record.Record{with(logon, func(r *record.Record) { r.Subject = identity.Ref{SAM: "ana"} })}, nil},
		"enabled by another":                  {disabled, []record.Record{enabled}, []string{"enabledAfterContainment/act_1"}},
		"both":                                {disabled, []record.Record{logon, enabled}, []string{"signInAfterContainment/act_1", "enabledAfterContainment/act_1"}},
		"what he himself changed":             {disabled, []record.Record{with(enabled, func(r *record.Record) { r.Subject, r.Others = r.Others[0].Ref, nil })}, nil},
		"not proven":                          {[]action.Action{done("act_1", actionad.Disable, onPrem, func(a *action.Action) { a.State = action.AcceptedState })}, []record.Record{logon}, nil},
		"undone":                              {[]action.Action{done("act_1", actionad.Disable, onPrem, func(a *action.Action) { a.UndoneBy = "act_2" })}, []record.Record{logon}, nil},
		"long ago":                            {[]action.Action{done("act_1", actionad.Disable, onPrem, func(a *action.Action) { a.VerifiedAt = now.Add(-15 * 24 * time.Hour) })}, []record.Record{logon}, nil},
		"enabled again through Cordon":        {append(disabled, done("act_2", actionad.Enable, onPrem, func(a *action.Action) { a.State, a.RequestedAt = action.Running, at(time.Minute) })), []record.Record{logon, enabled}, nil},
		"an enable that was refused":          {append(disabled, done("act_2", actionad.Enable, onPrem, func(a *action.Action) { a.State, a.RequestedAt = action.RefusedState, at(time.Minute) })), []record.Record{logon}, []string{"signInAfterContainment/act_1"}},
		"a sign-in to the cloud":              {[]action.Action{done("act_3", actionentraid.Disable, cloud)}, []record.Record{signIn, logon}, []string{"signInAfterContainment/act_3"}},
		"enabled in the cloud":                {[]action.Action{done("act_3", actionentraid.Disable, cloud)}, []record.Record{audit}, []string{"enabledAfterContainment/act_3"}},
		"a new sign-in after a revocation":    {[]action.Action{done("act_4", actionentraid.RevokeSessions, cloud)}, []record.Record{signIn, audit}, nil},
		"an old session after a revocation":   {[]action.Action{done("act_4", actionentraid.RevokeSessions, cloud)}, []record.Record{with(signIn, func(r *record.Record) { r.Type = "nonInteractiveUser" })}, []string{"signInAfterContainment/act_4"}},
		"an expired account's Kerberos logon": {[]action.Action{done("act_5", actionad.Expire, onPrem)}, []record.Record{with(logon, func(r *record.Record) { r.Type = "authorization" })}, []string{"signInAfterContainment/act_5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := containmentWatch{tenant: "t", now: func() time.Time { return now },
				actions: func(_ context.Context, n action.Name) (out []action.Action, _ error) {
					for _, a := range c.actions {
						if a.Name == n {
							out = append(out, a)
						}
					}
					return out, nil
				},
				// Two records to a page, to have it go on.
				records: func(_ context.Context, q record.Query) (record.Page, error) {
					if len(q.Accounts) == 0 || q.Since.After(at(0)) && name != "long ago" {
						t.Errorf("asked for %d accounts since %v", len(q.Accounts), q.Since)
					}
					if q.After == "" && len(c.records) > 1 {
						return record.Page{Records: c.records[:1], Next: "more"}, nil
					}
					return record.Page{Records: c.records[len(c.records)-1:]}, nil
				}}
			var cursor connector.Cursor
			for n, want := range [][]string{c.want, nil} { // told once
				var got []string
				for page, err := range w.Pages(t.Context(), cursor) {
					if err != nil {
						t.Fatal(err)
					}
					for _, s := range page.Signals {
						got = append(got, s.ExternalID)
						if s.Level != "high" || s.Title == "" || s.Detail == "" || s.ActivityAt.IsZero() {
							t.Errorf("signal %+v", s)
						}
					}
					cursor = page.Next
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("reading %d: -want +got\n%s", n+1, diff)
				}
			}
		})
	}
	w := containmentWatch{tenant: "t", now: time.Now}
	for _, err := range w.Pages(t.Context(), "{") {
		if err == nil {
			t.Error("a cursor that is none")
		}
	}
}

// A record that one reading does not find, because a busy account hides it or it is
// old, and the next finds again, is nothing new.
func TestWhatWasToldOfAContainmentStaysTold(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ref := identity.Ref{Provider: identity.ActiveDirectory, SID: "S-1-5-21-1-2-3-1104"}
	var found []record.Record
	w := containmentWatch{tenant: "t", now: func() time.Time { return now },
		actions: func(_ context.Context, n action.Name) ([]action.Action, error) {
			if n != actionad.Disable {
				return nil, nil
			}
			return []action.Action{{ID: "act_1", Name: n, Account: ref, State: action.Verified, VerifiedAt: now.Add(-time.Hour)}}, nil
		},
		records: func(context.Context, record.Query) (record.Page, error) { return record.Page{Records: found}, nil },
	}
	logon := record.Record{Source: record.Logon, ExternalID: "l", Type: "4624", At: now.Add(-time.Minute), Result: record.Success, Subject: ref}
	var cursor connector.Cursor
	for n, c := range []struct {
		found []record.Record
		told  int
	}{{[]record.Record{logon}, 1}, {nil, 0}, {[]record.Record{logon}, 0}} {
		found = c.found
		for page, err := range w.Pages(t.Context(), cursor) {
			if err != nil || len(page.Signals) != c.told {
				t.Errorf("reading %d tells %d signals, want %d (%v)", n+1, len(page.Signals), c.told, err)
			}
			cursor = page.Next
		}
	}
}
