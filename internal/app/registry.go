package app

import (
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	actionad "github.com/seed-f47efad2/cordon/internal/action/activedirectory"
	actionentraid "github.com/seed-f47efad2/cordon/internal/action/entraid"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/connector/defender"
	"github.com/seed-f47efad2/cordon/internal/connector/entraid"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A stream is a source with its interval.
type stream struct {
	source connector.Source
	every  time.Duration
	within bool // it looks at what Cordon has itself
}

// rest is how long to wait after a reading that took so long: what looks at our own
// rows must not take a core from those who change them.
func (s stream) rest(took time.Duration) time.Duration {
	const share = 20
	if s.within {
		return max(s.every, share*took)
	}
	return s.every
}

// streams lists the connectors of a tenant: one line each. protected is what the
// protected list names now, for entraid.Directory.
func streams(t config.Tenant, in entraid.Tenant, protected func() (groups, names []string)) []stream {
	every := t.Connectors.WithDefaults()
	unread := every.RiskDetections < 0 // then the alerts about them are all there is
	read := []struct {
		source connector.Source
		every  time.Duration
	}{
		{entraid.Directory{Tenant: in, Protected: protected, Connected: connected(t), ResetClearsRisk: t.ResetClearsRisk}, every.Directory},
		{entraid.UserChanges{Tenant: in}, every.Users},
		{entraid.Detections{Tenant: in}, every.RiskDetections},
		{entraid.WorkloadDetections{Tenant: in}, every.WorkloadDetections},
		{entraid.RiskyUsers{Tenant: in}, every.RiskyUsers},
		{entraid.RiskyWorkloads{Tenant: in}, every.RiskyWorkloads},
		{entraid.AgentDetections{Tenant: in}, every.Agents},
		{entraid.RiskyAgents{Tenant: in}, every.Agents},
		{defender.Alerts{Tenant: in.ID, Graph: in.Graph, Now: in.Now, Entra: unread}, every.Alerts},
		{defender.Incidents{Tenant: in.ID, Graph: in.Graph, Now: in.Now}, every.Incidents},
		{defender.Sensors{Tenant: in.ID, Graph: in.Graph, Now: in.Now}, every.Sensors},
		{defender.HealthIssues{Tenant: in.ID, Graph: in.Graph, Now: in.Now}, every.Sensors},
		{entraid.SignIns{Tenant: in, Kind: entraid.Interactive}, every.SignIns},
		{entraid.SignIns{Tenant: in, Kind: entraid.NonInteractive}, every.OtherSignIns},
		{entraid.SignIns{Tenant: in, Kind: entraid.ServicePrincipal}, every.OtherSignIns},
		{entraid.SignIns{Tenant: in, Kind: entraid.ManagedIdentity}, every.OtherSignIns},
		{entraid.RiskySignIns{Tenant: in}, every.RiskySignIns},
		{entraid.Audits{Tenant: in}, every.Audits},
		{entraid.Registration{Tenant: in}, every.Registration},
	}
	var list []stream
	for _, r := range read {
		list = append(list, stream{source: r.source, every: r.every})
	}
	for _, k := range entraid.ObjectKinds() {
		list = append(list, stream{source: entraid.Objects{Tenant: in, Kind: k}, every: every.Objects})
	}
	return list
}

// A Stream describes a source without a tenant behind it: what documents and
// checks say of it.
type Stream struct {
	Name        connector.Name
	Permissions []string      // application permissions, least privilege
	Every       time.Duration // default interval; negative: off unless it is given
}

// Streams describes what streams lists, and the lookup of single accounts, in
// that order.
func Streams() []Stream {
	var out []Stream
	for _, s := range streams(config.Tenant{}, entraid.Tenant{}, nil) {
		d := Stream{Name: s.source.Name(), Every: s.every}
		if p, ok := s.source.(connector.Permitted); ok {
			d.Permissions = p.Permissions()
		}
		out = append(out, d)
	}
	return append(out, Stream{Name: "entraid.users", Permissions: entraid.Users{}.Permissions(), Every: config.Connectors{}.WithDefaults().OpenCases})
}

// Catalogue lists the actions. A nil client gives a catalogue to look at, not to
// act with.
func Catalogue(client *graph.Client) (*action.Catalogue, error) { return catalogue(client, domains{}) }

// catalogue has one line for each directory. All tenants have the
// same ones, whatever they have connected, because a plan's hash names them.
func catalogue(client *graph.Client, on domains) (*action.Catalogue, error) {
	var types []action.Type
	types = append(types, actionentraid.Types(client)...)
	types = append(types, on.types()...)
	routes := actionentraid.Routes()
	onPremises := actionad.Routes()
	for _, r := range routes {
		if to := onPremises[r.Name]; to != "" {
			r.To[identity.ActiveDirectory] = to
		}
	}
	return action.NewCatalogue(types, routes)
}
