package app

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
)

// The last report about a group counts, only of the account itself, and only of what
// came about.
func TestJoined(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	const me, other = "S-1-5-21-1-2-3-1105", "S-1-5-21-1-2-3-1106"
	report := func(kind, member, group string, ago time.Duration) record.Record {
		return record.Record{Type: kind, At: at.Add(-ago), Subject: identity.Ref{SAM: "helpdesk"}, Others: []record.Party{
			{Role: "member", Ref: identity.Ref{SID: member}}, {Role: "group", Ref: identity.Ref{SID: group, SAM: "Group " + group[len(group)-1:]}}}}
	}
	failed := report("4728", me, "S-1-5-21-1-2-3-1204", 0)
	failed.Result = record.Failure
	nameless := report("4728", me, "S-1-5-21-1-2-3-1205", 0)
	nameless.Others[1].Ref = identity.Ref{SAM: "By name only"}
	got := joined([]record.Record{
		report("4729", me, "S-1-5-21-1-2-3-1201", time.Hour), report("4728", me, "S-1-5-21-1-2-3-1201", 2*time.Hour), // in and out again
		report("4756", me, "S-1-5-21-1-2-3-1202", 3*time.Hour), report("4757", me, "S-1-5-21-1-2-3-1202", 4*time.Hour), // out and in again
		report("4732", other, "S-1-5-21-1-2-3-1203", time.Hour), failed, nameless,
	}, me)
	want := []identity.Joined{{Group: "S-1-5-21-1-2-3-1202", Name: "Group 2", By: "helpdesk", At: at.Add(-3 * time.Hour)}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var many []record.Record
	for n := range joinedMost + 5 {
		many = append(many, report("4728", me, fmt.Sprintf("S-1-5-21-1-2-3-%d", 2000+n), time.Duration(n)*time.Hour))
	}
	if got := joined(many, me); len(got) != joinedMost || got[0].Group != "S-1-5-21-1-2-3-2000" {
		t.Errorf("%d kept, the first %+v", len(got), got[0])
	}
}

// Which groups an account was put into becomes part of what its domain says of it; that
// it could not be read is no silence.
func TestJoinedIsPartOfTheFacts(t *testing.T) {
	t.Parallel()
	var asked []string
	h := &hybrid{joined: func(_ context.Context, sid string) ([]identity.Joined, error) {
		asked = append(asked, sid)
		return []identity.Joined{{Group: "S-1-5-21-1-2-3-1201"}}, nil
	}}
	list := []connector.AccountFacts{
		{Ref: identity.Ref{SID: "S-1-5-21-1-2-3-1105"}, Facts: identity.Facts{OnPremises: &identity.OnPremises{Class: identity.ClassUser}}},
		{Ref: identity.Ref{SID: "S-1-5-21-9-9-9-1105"}, Facts: identity.Facts{OnPremises: &identity.OnPremises{Class: identity.ClassForeign}}},
		{Ref: identity.Ref{SID: "S-1-5-21-1-2-3-1106"}},
	}
	if err := h.withJoined(t.Context(), list); err != nil || len(asked) != 1 || len(list[0].Facts.OnPremises.Joined) != 1 {
		t.Errorf("asked for %v, got %+v, %v", asked, list[0].Facts.OnPremises, err)
	}
	h.joined = func(context.Context, string) ([]identity.Joined, error) {
		return nil, fault.Errorf(fault.Unavailable, "locked")
	}
	if err := h.withJoined(t.Context(), list); !errors.Is(err, fault.Unavailable) {
		t.Errorf("%v", err)
	}
}
