package app

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
)

// Health is the outcome of one check.
type Health string

// The outcomes.
const (
	Healthy Health = "ok"
	Missing Health = "missing" // something Cordon needs is not there
	Excess  Health = "excess"  // granted and not needed: take it away
	Broken  Health = "failed"
	Unknown Health = "unknown" // could not be asked, with the reason; no fault by itself
)

// A Check is one line of the doctor's report.
type Check struct {
	Tenant string `json:"tenant,omitempty"`
	Name   string `json:"name"`
	Health Health `json:"health"`
	Text   string `json:"text"`          // what was found
	Fix    string `json:"fix,omitempty"` // what to do next
	// Away marks a failure to reach something, which is not a wrong configuration.
	Away bool `json:"-"`
}

// maxSkew is how far our clock may be from Graph's before proofs and deadlines
// become doubtful.
const maxSkew = 30 * time.Second

// Doctor asks the outside about every tenant of the configuration and writes
// nothing there. Checks that cannot be made come back as such, never as errors.
func Doctor(ctx context.Context, c config.Config, now func() time.Time) ([]Check, error) {
	specs, err := Catalogue(nil)
	if err != nil {
		return nil, err
	}
	library, err := Playbooks(c, specs)
	if err != nil {
		return nil, err
	}
	var out []Check
	for _, t := range c.Tenants {
		need := map[string][]string{} // permission → what needs it
		for _, s := range streams(t, entraid.Tenant{}, nil) {
			if p, ok := s.source.(connector.Permitted); ok && s.every > 0 {
				for _, name := range p.Permissions() {
					need[name] = append(need[name], string(s.source.Name()))
				}
			}
		}
		for _, name := range (entraid.Users{}).Permissions() {
			need[name] = append(need[name], "facts of open cases")
		}
		roles, onPremises := map[string][]string{}, []action.Name{} // directory role → what needs it
		for _, r := range library.Requires() {
			onPremises = append(onPremises, r.OnPremises...)
		}
		if t.Acts() {
			for _, r := range library.Requires() {
				for _, name := range r.Permissions {
					need[name] = append(need[name], "playbook "+r.Playbook)
				}
				for _, name := range r.DirectoryRoles {
					roles[name] = append(roles[name], "playbook "+r.Playbook)
				}
			}
		}
		out = append(out, examine(ctx, t, need, roles, now)...)
		for _, c := range examineDomains(ctx, t, onPremises, directory.Options{Now: now}) {
			c.Tenant = cmp.Or(t.Name, t.TenantID)
			out = append(out, c)
		}
		out = append(out, examineChannels(ctx, t)...)
	}
	for _, w := range Warnings(c, library) {
		out = append(out, Check{Name: "notify", Health: Missing, Text: w, Fix: "name a receiver in notify, or take page out of the playbook"})
	}
	return append(append(out, examineReceivers(c)...), examineQuestions(c)...), nil
}

func examine(ctx context.Context, t config.Tenant, need, roles map[string][]string, now func() time.Time) []Check {
	name := cmp.Or(t.Name, t.TenantID)
	var out []Check
	add := func(c Check) { c.Tenant = name; out = append(out, c) }
	rt, err := graph.NewTransport(t.CAFile)
	if err != nil {
		add(Check{Name: "certificates", Health: Broken, Text: err.Error(), Fix: "correct ca_file"})
		return out
	}
	tokens, err := graph.NewTokens(t.Config, rt, now)
	if err != nil {
		add(Check{Name: "credential", Health: Broken, Text: err.Error(), Fix: "correct the credential"})
		return out
	}
	token, err := tokens.Token(ctx)
	if err != nil {
		add(Check{Name: "sign-in", Health: Broken, Text: err.Error(), Fix: "see the text; nothing else can be asked until this works", Away: errors.Is(err, fault.Unavailable)})
		return out
	}
	add(Check{Name: "sign-in", Health: Healthy, Text: "a token was given"})
	client, err := graph.Open(t.Config, graph.Options{Transport: rt, Now: now})
	if err != nil {
		add(Check{Name: "client", Health: Broken, Text: err.Error()})
		return out
	}
	res, err := client.Do(ctx, graph.Request{Path: "/organization", Query: url.Values{"$select": {"id"}}})
	switch {
	case res.Status == 0 && err != nil:
		add(Check{Name: "graph", Health: Broken, Text: err.Error(), Fix: "open the way to the Graph host", Away: true})
		return out
	default:
		add(Check{Name: "graph", Health: Healthy, Text: fmt.Sprintf("answers (%d)", res.Status)})
	}
	if skew := now().Sub(res.Date); !res.Date.IsZero() && skew.Abs() > maxSkew {
		add(Check{Name: "clock", Health: Broken, Text: fmt.Sprintf("this machine's clock is %s off Graph's", skew.Round(time.Second)), Fix: "set the clock (NTP): proofs and deadlines depend on it"})
	} else if !res.Date.IsZero() {
		add(Check{Name: "clock", Health: Healthy, Text: "within " + maxSkew.String() + " of Graph's"})
	}
	out = append(out, permissions(name, token, need)...)
	out = append(out, examineRoles(ctx, name, token, roles, client, now)...)
	out = append(out, sensors(ctx, name, client))
	if len(t.Directories) > 0 {
		out = append(out, synchronisation(ctx, t, client, now()))
	}
	return out
}

// permissions compares what is needed with what the token grants. Microsoft
// calls access tokens opaque to clients, so its roles claim only advises here:
// nothing else in Cordon looks into a token, and a 403 decides at call time.
func permissions(tenant, token string, need map[string][]string) []Check {
	claims, ok := claimsOf(token)
	granted := claims.Roles
	if !ok {
		return []Check{{Tenant: tenant, Name: "permissions", Health: Unknown, Text: "the token does not say what was granted; a missing permission will show as 403 at the first use"}}
	}
	var out []Check
	var names []string
	for n := range need {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		by := slices.Compact(slices.Sorted(slices.Values(need[n])))
		c := Check{Tenant: tenant, Name: "permission " + n, Health: Healthy, Text: "granted; needed by " + strings.Join(by, ", ")}
		if !slices.ContainsFunc(granted, func(g string) bool { return g == n || implies(g, n) }) {
			c.Health, c.Text = Missing, "not granted; needed by "+strings.Join(by, ", ")
			c.Fix = "add the application permission " + n + " and grant admin consent"
		}
		out = append(out, c)
	}
	slices.Sort(granted)
	for _, g := range granted {
		if need[g] == nil && g != sensorsPermission && g != entraid.SyncPermission { // the doctor itself asks with these
			c := Check{Tenant: tenant, Name: "permission " + g, Health: Excess, Text: "granted and not needed by the connectors and playbooks in use", Fix: "remove it"}
			for _, n := range names {
				if implies(g, n) && !slices.Contains(granted, n) {
					c.Text, c.Fix = "broader than "+n+", which would do", "replace it with "+n
				}
			}
			out = append(out, c)
		}
	}
	return out
}

// implies reports whether holding wide grants everything narrow does: the
// .ReadWrite form of the same name, and the directory-wide ones.
func implies(wide, narrow string) bool {
	if wide == "Directory.ReadWrite.All" {
		return slices.Contains([]string{"User.Read.All", "GroupMember.Read.All", "Directory.Read.All"}, narrow)
	}
	return strings.Replace(wide, ".ReadWrite.", ".Read.", 1) == narrow
}

// A token's claims, as far as the doctor reads them.
type claims struct {
	Roles    []string `json:"roles"` // application permissions
	ObjectID string   `json:"oid"`   // of the service principal
}

func claimsOf(token string) (c claims, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, false
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	return c, err == nil && json.Unmarshal(b, &c) == nil
}

// sensorsPermission is optional: without it the sensors' health is not known.
const sensorsPermission = "SecurityIdentitiesSensors.Read.All"

// sensors asks Defender for Identity whether its sensors are well: alerts that
// cannot be raised look like peace.
func sensors(ctx context.Context, tenant string, client *graph.Client) Check {
	c := Check{Tenant: tenant, Name: "defender sensors"}
	type sensor struct {
		DisplayName  string `json:"displayName"`
		HealthStatus string `json:"healthStatus"`
	}
	total, ill := 0, []string{}
	for o, err := range graph.Objects[sensor](ctx, client, graph.Request{Path: "/security/identities/sensors"}, graph.Paging{}) {
		if errors.Is(err, fault.Denied) {
			c.Health, c.Text = Unknown, "may not be asked"
			c.Fix = "grant " + sensorsPermission + " to have them watched; nothing else needs it"
			return c
		}
		if err != nil {
			c.Health, c.Text = Unknown, err.Error()
			return c
		}
		total++
		if o.Value.HealthStatus != "" && !strings.EqualFold(o.Value.HealthStatus, "healthy") {
			ill = append(ill, o.Value.DisplayName+" ("+o.Value.HealthStatus+")")
		}
	}
	c.Health, c.Text = Healthy, fmt.Sprintf("%d, all healthy", total)
	if total == 0 {
		c.Health, c.Text = Unknown, "Defender for Identity reports no sensor"
	}
	if len(ill) > 0 {
		c.Health, c.Text, c.Fix = Broken, "not healthy: "+strings.Join(ill, ", "), "see the health issues in the Defender portal: what a sensor does not see raises no alert"
	}
	return c
}
