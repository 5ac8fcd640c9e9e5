package ingest

import (
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// afterContainment makes a signal of each sign-in that succeeded although its
// identity is contained: whoever it was got in. Such a record is what somebody, which
// is Cordon, says to be suspicious; all that follows from a signal follows.
func (b *batch) afterContainment(list []record.Record, puts []Put) error {
	var in []record.Record
	for n, r := range list {
		if (r.Source == record.SignIn || r.Source == record.Logon) && r.Result == record.Success && puts[n] == PutNew && len(r.Subject.Keys()) > 0 {
			in = append(in, r)
		}
	}
	if len(in) == 0 {
		return nil
	}
	contained, err := b.tx.Contained(b.tenant)
	if err != nil || len(contained) == 0 {
		return err
	}
	cases := map[identity.ID]casefile.Case{}
	for _, c := range contained {
		cases[c.Identity] = c
	}
	for _, r := range in {
		owners, err := b.tx.IdentitiesByKeys(b.tenant, r.Subject.Keys()[:1])
		if err != nil {
			return err
		}
		if len(owners) == 0 {
			continue
		}
		c, ok := cases[owners[0].ID]
		if !ok || !r.At.After(c.ContainedAt) {
			continue
		}
		if given, err := b.givenBack(c); err != nil || given {
			if err != nil {
				return err
			}
			continue
		}
		b.res.Read-- // it was counted as the record
		err = b.signal("", signal.Signal{
			Tenant: b.tenant, Source: signal.Own, ExternalID: "after-containment:" + string(r.Source) + ":" + r.ExternalID,
			Type: detection.AfterContainment, Title: "Sign-in after containment", Level: signal.LevelHigh, State: signal.StateAtRisk,
			Subject: r.Subject, ActivityAt: r.At, DetectedAt: r.At, UpdatedAt: r.At, IP: r.IP, Location: r.Location, CorrelationID: r.CorrelationID,
			Notes: []string{fmt.Sprintf("it succeeded after the containment of %s that case %s holds to be verified", c.ContainedAt.UTC().Format("2006-01-02 15:04:05 MST"), c.ID)},
		})
		if err != nil {
			return fmt.Errorf("sign-in %s after containment: %w", r.ExternalID, err)
		}
	}
	return nil
}

// givenBack reports whether somebody was given access again through Cordon since the
// containment: then a sign-in is what was meant to follow.
func (b *batch) givenBack(c casefile.Case) (bool, error) {
	runs, err := b.tx.RunsOfCase(b.tenant, c.ID)
	if err != nil {
		return false, err
	}
	for _, r := range runs {
		acts, err := b.tx.ActionsOfRun(b.tenant, r.ID)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(acts, func(a action.Action) bool {
			t, err := b.p.Runs.Catalogue.Type(a.Name)
			return err == nil && t.Spec().Effect == action.EffectRelease && a.State == action.Verified && a.VerifiedAt.After(c.ContainedAt)
		}) {
			return true, nil
		}
	}
	return false, nil
}
