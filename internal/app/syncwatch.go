package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	actionentraid "github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// What a sync fight is told as.
const (
	syncFight                   = "syncFight"
	watchStream  connector.Name = "cordon.synchronisation"
	watchedFor                  = 30 * 24 * time.Hour
	watchedMost                 = 500
	watchedBatch                = 20
)

// syncWatch looks whether an account that Cordon disabled in Entra was enabled again
// although nobody took that back: an account that is synchronised and enabled in
// Active Directory becomes so with the next synchronisation. It is told as a signal,
// so that it opens the case again and a playbook can answer at the source.
type syncWatch struct {
	tenant  identity.Tenant
	actions func(context.Context) ([]action.Action, error) // verified disables in Entra, newest first
	facts   connector.Lookup                               // of both directories
	now     func() time.Time
}

var _ connector.Source = syncWatch{}

// disables lists the disables in Entra that are proven.
func (a *App) disables(t identity.Tenant) func(context.Context) ([]action.Action, error) {
	return func(ctx context.Context) ([]action.Action, error) {
		list, err := a.db.Desk().Actions(ctx, desk.ActionFilter{Tenant: t, Name: actionentraid.Disable, State: []action.State{action.Verified}}, desk.Page{Limit: watchedMost})
		return list.Items, err
	}
}

// Name is connector.Source's.
func (syncWatch) Name() connector.Name { return watchStream }

// Pages is connector.Source's. The cursor names the actions that were told of
// already: each is told once.
func (s syncWatch) Pages(ctx context.Context, c connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		page, err := s.look(ctx, c)
		if err != nil {
			err = fmt.Errorf("watch the synchronisation: %w", err)
		}
		yield(page, err)
	}
}

func (s syncWatch) look(ctx context.Context, c connector.Cursor) (connector.Page, error) {
	var told []action.ID
	if c != "" {
		if err := json.Unmarshal([]byte(c), &told); err != nil {
			return connector.Page{}, fault.Errorf(fault.Invalid, "cursor %.60q: %w", string(c), err)
		}
	}
	all, err := s.actions(ctx)
	if err != nil {
		return connector.Page{}, err
	}
	var open []action.Action
	still := told[:0:0]
	for _, a := range all {
		switch {
		case slices.Contains(told, a.ID):
			still = append(still, a.ID)
		case a.UndoneBy == "" && s.now().Sub(a.RequestedAt) < watchedFor:
			open = append(open, a)
		}
	}
	page := connector.Page{}
	for part := range slices.Chunk(open, watchedBatch) {
		found, err := s.fights(ctx, part)
		if err != nil {
			return connector.Page{}, err
		}
		for _, f := range found {
			page.Signals = append(page.Signals, f.signal)
			still = append(still, f.action)
		}
	}
	b, err := json.Marshal(still)
	page.Next = connector.Cursor(b)
	return page, err
}

type fight struct {
	action action.ID
	signal signal.Signal
}

func (s syncWatch) fights(ctx context.Context, list []action.Action) ([]fight, error) {
	refs := make([]identity.Ref, len(list))
	for n, a := range list {
		refs[n] = a.Account
	}
	facts, err := s.facts.Facts(ctx, refs)
	if err != nil && len(facts) == 0 {
		return nil, err
	}
	cloud, source := map[string]connector.AccountFacts{}, map[string]connector.AccountFacts{}
	for _, f := range facts {
		switch f.Ref.Provider {
		case identity.EntraID:
			cloud[strings.ToLower(f.Ref.ObjectID)] = f
		case identity.ActiveDirectory:
			source[strings.ToUpper(f.Ref.SID)] = f
		}
	}
	var out []fight
	for _, a := range list {
		c := cloud[strings.ToLower(a.Account.ObjectID)]
		at := source[strings.ToUpper(c.Ref.SID)]
		if !yes(c.Facts.Synced) || !yes(c.Facts.Enabled) || c.Ref.SID == "" || !yes(at.Facts.Enabled) {
			continue // as it should be, or enabled by somebody: the source says disabled
		}
		now := s.now()
		ref := c.Ref
		raw, _ := json.Marshal(map[string]any{"action": a.ID, "entra": c, "activeDirectory": at}) // strings, times and booleans: cannot fail
		out = append(out, fight{a.ID, signal.Signal{
			Tenant: s.tenant, Source: signal.Watch, ExternalID: syncFight + "/" + string(a.ID), Type: syncFight,
			Title: "The synchronisation enabled an account again that was disabled in Entra alone",
			Level: signal.LevelHigh, State: signal.StateAtRisk, Subject: ref,
			Detail:     cmp.Or(at.Ref.SAM, at.Ref.SID) + " is enabled in Active Directory, which masters it",
			DetectedAt: now, UpdatedAt: now, Raw: raw,
		}})
	}
	return out, nil
}

func yes(v *bool) bool { return v != nil && *v }
