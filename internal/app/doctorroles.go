package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// examineRoles compares the directory roles that the app's service principal holds
// with those that the playbooks in use need to act on administrators: need is role →
// what needs it. The token says who the service principal is, which like its roles
// only advises.
func examineRoles(ctx context.Context, tenant, token string, need map[string][]string, client *graph.Client, now func() time.Time) []Check {
	unknown := func(why string) []Check {
		c := Check{Tenant: tenant, Name: "directory roles", Health: Unknown, Text: why}
		if len(need) > 0 {
			c.Fix = "see that the app's service principal holds " + strings.Join(slices.Sorted(maps.Keys(need)), ", ") + ": it acts on nobody who holds a directory role without it"
		}
		return []Check{c}
	}
	claims, ok := claimsOf(token)
	if !ok || claims.ObjectID == "" {
		return unknown("the token does not say which service principal it is for")
	}
	for page, err := range (entraid.Directory{Tenant: entraid.Tenant{Graph: client, Now: now}}).Pages(ctx, "") {
		switch {
		case errors.Is(err, fault.Denied):
			return unknown("who holds which may not be read")
		case err != nil:
			return unknown(err.Error())
		}
		return compareRoles(tenant, need, page.Directory.Holders[claims.ObjectID])
	}
	return unknown("the directory gave no roles")
}

// compareRoles says of each role that is needed or held what is to be done.
func compareRoles(tenant string, need map[string][]string, held []identity.Role) []Check {
	var out []Check
	add := func(role string, h Health, text, fix string) {
		out = append(out, Check{Tenant: tenant, Name: "directory role " + role, Health: h, Text: text, Fix: fix})
	}
	as := func(name string) (role identity.Role, ok bool) {
		for _, r := range held {
			if strings.EqualFold(r.Name, name) && (!ok || r.Active && r.Scope == "") {
				role, ok = r, true
			}
		}
		return role, ok
	}
	for _, name := range slices.Sorted(maps.Keys(need)) {
		by := strings.Join(slices.Compact(slices.Sorted(slices.Values(need[name]))), ", ")
		switch r, ok := as(name); {
		case !ok:
			add(name, Missing, "not held by the app's service principal; to act on people who hold a directory role it is needed by "+by,
				"assign it to the service principal; without it those steps fail with that reason, for administrators only")
		case !r.Active:
			add(name, Missing, "the app's service principal is only eligible for it, and nobody activates it; needed by "+by, "assign it as active")
		case r.Scope != "":
			add(name, Missing, fmt.Sprintf("held for %s only; needed in the whole tenant by %s", r.Scope, by), "assign it for the whole tenant, or live with failed steps for administrators elsewhere")
		default:
			add(name, Healthy, "held; to act on people who hold a directory role it is needed by "+by, "")
		}
	}
	var more []string
	for _, r := range held {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(need)), func(n string) bool { return strings.EqualFold(n, r.Name) }) {
			more = append(more, r.Name)
		}
	}
	slices.Sort(more)
	for _, name := range slices.Compact(more) {
		add(name, Excess, "held by the app's service principal and not needed by the playbooks in use", "remove it")
	}
	return out
}
