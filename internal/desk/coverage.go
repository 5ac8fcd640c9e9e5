package desk

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/detection"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Coverage is what the catalogue understands, and what has arrived beyond it.
type Coverage struct {
	detection.Covers
	Activities []record.Activity `json:"activities"` // of the audit log, that are understood
	Arrived    int               `json:"arrived"`    // signals
	Unheard    []detection.Kind  `json:"unheard"`    // kinds among them that the catalogue does not have, the most frequent first
}

// Coverage counts over the tenant, or over all. It reads all signals and needs
// access.Read.
func (s *Service) Coverage(ctx context.Context, op access.Operator, t identity.Tenant) (Coverage, error) {
	t, err := may(op, access.Read, t)
	if err != nil {
		return Coverage{}, err
	}
	kinds, err := s.store.Kinds(ctx, t)
	if err != nil {
		return Coverage{}, fmt.Errorf("count the kinds of signals: %w", err)
	}
	out := Coverage{Covers: detection.Coverage(), Activities: record.Activities(), Unheard: []detection.Kind{}}
	for _, k := range kinds {
		out.Arrived += k.Count
	}
	for _, k := range detection.UnheardOf(kinds) {
		// The type of an alert is its title, which changes; its detector does not.
		like, err := s.store.Signals(ctx, SignalFilter{Tenant: t, Source: k.Source, Type: k.Type}, Page{Limit: 1})
		if err != nil {
			return Coverage{}, fmt.Errorf("read a signal of type %s: %w", k.Type, err)
		}
		if len(like.Items) > 0 {
			k.Title, k.Detector = like.Items[0].Title, like.Items[0].Detector
		}
		out.Unheard = append(out.Unheard, detection.UnheardOf([]detection.Kind{k})...)
	}
	return out, nil
}

// detections is what the catalogue says of the identity's open signals.
func (s *Service) detections(ctx context.Context, t identity.Tenant, id identity.ID) ([]detection.Entry, error) {
	list, err := s.store.Signals(ctx, SignalFilter{Tenant: t, Identity: id}, Page{Limit: timelineLimit})
	if err != nil {
		return nil, fmt.Errorf("read the signals: %w", err)
	}
	var out []detection.Entry
	level := map[string]signal.Level{}
	for _, g := range list.Items {
		if !g.State.Open() {
			continue
		}
		e, _ := detection.Of(g)
		if _, seen := level[e.ID()]; !seen {
			out = append(out, e)
		}
		if g.Level.Rank() >= level[e.ID()].Rank() {
			level[e.ID()] = g.Level
		}
	}
	slices.SortStableFunc(out, func(a, b detection.Entry) int { return level[b.ID()].Rank() - level[a.ID()].Rank() })
	return out, nil
}
