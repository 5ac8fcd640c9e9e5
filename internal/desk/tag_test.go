package desk_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A tag has who gave it, why and when; it protects at once, and so does taking it away
// undo it; less care needs more than more care.
func TestTaggingByHand(t *testing.T) {
	t.Parallel()
	q := newInquiry(t)
	ctx := t.Context()
	for op, want := range map[access.OperatorID]fault.Kind{"auditor": fault.Denied, "subject": fault.Denied, "elsewhere": fault.NotFound} {
		_, err := q.Desk.Tag(ctx, q.Operator(op), q.who.ID, identity.TagProtected, "the board")
		kindIs(t, "a tag by "+string(op), err, want)
	}
	_, err := q.Desk.Tag(ctx, q.Operator("analyst"), q.who.ID, identity.TagProtected, " ")
	kindIs(t, "without a reason", err, fault.Invalid)
	q.Pass(time.Minute)
	nudged := q.Nudged()
	v, err := q.Desk.Tag(ctx, q.Operator("analyst"), q.who.ID, "Protected", "the board")
	if err != nil {
		t.Fatal(err)
	}
	if !v.Protection.Protected() || v.Protection.Unknown || !strings.Contains(v.Protection.Reasons[0], "the board") || q.Nudged() == nudged {
		t.Errorf("protection %+v", v.Protection)
	}
	byHand := 0
	for _, tag := range v.Tags {
		if tag.By != "" {
			byHand++
			if tag.By != "analyst" || tag.Name != "protected" || tag.Reason != "the board" || !tag.At.Equal(q.Now()) {
				t.Errorf("tag %+v", tag)
			}
		}
	}
	if byHand != 1 {
		t.Errorf("tags %+v", v.Tags)
	}
	plan, err := q.Desk.PlanFor(ctx, q.Operator("owner"), "token-theft", q.who.ID)
	if err != nil || !strings.Contains(plan.Plan.Refused, "tagged protected by analyst") {
		t.Errorf("plan %+v, %v", plan.Plan, err)
	}
	_, err = q.Desk.Untag(ctx, q.Operator("analyst"), q.who.ID, identity.TagProtected, "r")
	kindIs(t, "taken away by an analyst", err, fault.Denied)
	v, err = q.Desk.Untag(ctx, q.Operator("second"), q.who.ID, identity.TagProtected, "left the board")
	if err != nil || v.Protection.Protected() && !v.Protection.Unknown {
		t.Fatalf("protection %+v, %v", v.Protection, err)
	}
	if v, err = q.Desk.Tag(ctx, q.Operator("analyst"), q.who.ID, identity.TagVIP, "speaks for us"); err != nil || v.Who.Privileged != "yes" || v.Impact.Level != "high" {
		t.Errorf("privileged %s, impact %+v, %v", v.Who.Privileged, v.Impact, err)
	}
	kinds := map[audit.Kind]int{}
	for _, e := range q.Store.Entries() {
		kinds[e.Kind]++
	}
	if kinds[audit.IdentityTagged] != 2 || kinds[audit.IdentityUntagged] != 1 {
		t.Errorf("the trail: %v", kinds)
	}
}
