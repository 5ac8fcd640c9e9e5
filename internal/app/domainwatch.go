package app

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/defender"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/playbook"
)

// domainWatch asks every writable controller of a domain for one object, and reports
// each as a feed: one that is silent takes no change, and keeps what is changed
// elsewhere from being verified (law 10).
type domainWatch struct{ domain *directory.Client }

var _ connector.Source = domainWatch{}

// controllersOf names the feed that reports of a domain's controllers.
func controllersOf(domain string) connector.Name {
	return connector.Name("activedirectory." + strings.ToLower(domain))
}

// Name is connector.Source's.
func (d domainWatch) Name() connector.Name { return controllersOf(d.domain.Domain()) }

// Pages is connector.Source's: it always yields one page, which is empty but for the
// reports.
func (d domainWatch) Pages(ctx context.Context, _ connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		page, err := d.look(ctx)
		if err != nil {
			err = fmt.Errorf("look after the controllers of %s: %w", d.domain.Domain(), err)
		}
		yield(page, err)
	}
}

func (d domainWatch) look(ctx context.Context) (connector.Page, error) {
	sid, err := d.domain.SID(ctx)
	if err != nil {
		return connector.Page{}, err
	}
	views, err := d.domain.SeeEverywhere(ctx, []directory.Subject{{SID: sid}})
	if err != nil {
		return connector.Page{}, err
	}
	page := connector.Page{Feeds: []connector.FeedReport{}}
	for _, v := range views {
		r := connector.FeedReport{Stream: d.Name() + "/" + connector.Name(v.DC), Says: "answers", Acts: strings.ToLower(d.domain.Domain())}
		if v.Err != nil {
			r.Silent, r.Says = true, v.Err.Error()
		}
		page.Feeds = append(page.Feeds, r)
	}
	return page, nil
}

// outages are the ways into the tenant's domains that the feeds say do not work.
func (a *App) outages(t identity.Tenant) []playbook.Outage {
	var names []string
	for _, d := range a.settings.Load().tenants[t].Directories {
		names = append(names, d.Domain)
	}
	states := a.fares.Load()
	if states == nil {
		return nil
	}
	return outages(t, names, *states)
}

// outages is App.outages for feeds as they are given. A way of which nothing is known
// is not down: it is tried.
func outages(t identity.Tenant, domains []string, states []connector.FeedState) (out []playbook.Outage) {
	states = slices.DeleteFunc(slices.Clone(states), func(s connector.FeedState) bool { return s.Tenant != t })
	find := func(n connector.Name) (s connector.FeedState) {
		if at := slices.IndexFunc(states, func(s connector.FeedState) bool { return s.Stream == n }); at >= 0 {
			s = states[at]
		}
		return s
	}
	// up says how many of what a source reports can act in the domain, and how many do.
	up := func(source connector.Name, domain string) (all, up int) {
		for _, s := range states {
			if s.Source == source && s.Acts != "" && (domain == "" || s.Acts == connector.AnyDomain || strings.EqualFold(s.Acts, domain)) {
				all++
				if !s.Silent {
					up++
				}
			}
		}
		return all, up
	}
	for _, domain := range domains {
		source := find(controllersOf(domain))
		all, well := up(source.Stream, domain)
		if source.Stream != "" && (source.Failure != "" || all > 0 && well == 0) {
			out = append(out, playbook.Outage{Provider: identity.ActiveDirectory, Via: identity.ActiveDirectory, Domain: domain,
				Why: "no controller of " + domain + " answers"})
		}
	}
	sensors := find(defender.Sensors{}.Name())
	if sensors.Success.IsZero() || sensors.Silent {
		return out
	}
	down := func(domain, where string) {
		if all, well := up(sensors.Stream, domain); well == 0 {
			why := "no sensor of Defender for Identity on a controller" + where + " is up"
			if all == 0 {
				why = "Defender for Identity has no sensor on a controller" + where
			}
			out = append(out, playbook.Outage{Provider: identity.ActiveDirectory, Via: identity.EntraID, Domain: domain, Why: why})
		}
	}
	for _, domain := range domains {
		down(domain, " of "+domain)
	}
	down("", "")
	return out
}
