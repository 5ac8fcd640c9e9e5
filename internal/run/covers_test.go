package run

import (
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/approval"
)

// A campaign's consent answers the same people's question about the same plan, and
// no other.
func TestConsentCovers(t *testing.T) {
	t.Parallel()
	rule := approval.Rule{Mode: approval.Before, From: []string{"lead", "soc"}, Quorum: 2, Expires: time.Hour}
	given := func(change func(*Consent, *approval.Rule)) bool {
		c := &Consent{Campaign: "cmp_1", PlanHash: "h1", Rule: rule, Decisions: []approval.Decision{{By: "a", Approve: true}, {By: "b", Approve: true}}}
		asked := rule
		change(c, &asked)
		return c.covers(asked, "h1")
	}
	if !given(func(_ *Consent, r *approval.Rule) { r.From = []string{"soc", "lead"} }) {
		t.Error("the same question is not answered")
	}
	for name, change := range map[string]func(*Consent, *approval.Rule){
		"another plan":             func(c *Consent, _ *approval.Rule) { c.PlanHash = "h2" },
		"other groups":             func(_ *Consent, r *approval.Rule) { r.From = []string{"soc"} },
		"more people":              func(_ *Consent, r *approval.Rule) { r.Quorum = 3 },
		"afterwards":               func(_ *Consent, r *approval.Rule) { r.Mode = approval.Ratify },
		"consent given afterwards": func(c *Consent, _ *approval.Rule) { c.Rule.Mode = approval.Ratify },
	} {
		if given(change) {
			t.Errorf("%s: answered by a consent to something else", name)
		}
	}
	if (*Consent)(nil).covers(rule, "h1") {
		t.Error("no consent answers")
	}
}
