package entraid

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Objects reads all objects of one kind of the directory as records: what there is
// to be attacked through, whose it is and with which credentials. Each reading tells
// all of them; a record's UpdatedAt is when it was read.
type Objects struct {
	Tenant
	Kind record.Source // one of ObjectKinds
}

var (
	_ connector.Source    = Objects{}
	_ connector.Permitted = Objects{}
)

// ObjectKinds are the kinds of objects that are read by Objects.
func ObjectKinds() []record.Source {
	return []record.Source{record.ServicePrincipal, record.Application, record.Device, record.Group, record.Policy, record.NamedLocation}
}

// An objectKind says how objects of a kind are read.
type objectKind struct {
	path       string
	query      url.Values
	paced      bool // in the budget of identity protection
	permission string
}

// of returns how the kind is read. Graph: serviceprincipal-list, application-list,
// device-list, group-list (which GroupMember.Read.All admits to),
// conditionalaccessroot-list-policies, conditionalaccessroot-list-namedlocations. At
// most 20 owners are expanded.
func objectKindOf(s record.Source) objectKind {
	switch s {
	case record.ServicePrincipal:
		return objectKind{"/servicePrincipals", url.Values{"$expand": {"owners"}}, false, "Application.Read.All"}
	case record.Application:
		return objectKind{"/applications", url.Values{"$expand": {"owners"}}, false, "Application.Read.All"}
	case record.Device:
		return objectKind{"/devices", url.Values{"$expand": {"registeredOwners"}}, false, "Device.Read.All"}
	case record.Group:
		return objectKind{"/groups", url.Values{"$expand": {"owners"}}, false, "GroupMember.Read.All"}
	case record.Policy:
		return objectKind{"/identity/conditionalAccess/policies", nil, true, "Policy.Read.All"}
	default:
		return objectKind{"/identity/conditionalAccess/namedLocations", nil, true, "Policy.Read.All"}
	}
}

// Name is connector.Source's.
func (c Objects) Name() connector.Name {
	_, kind, _ := strings.Cut(string(c.Kind), ".")
	return connector.Name("entraid.objects/" + kind)
}

// Permissions is connector.Permitted's.
func (c Objects) Permissions() []string { return []string{objectKindOf(c.Kind).permission} }

// Pages is connector.Source's.
func (c Objects) Pages(ctx context.Context, _ connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		k, at := objectKindOf(c.Kind), c.Now().UTC()
		if k.paced {
			if err := c.pace(ctx); err != nil {
				yield(connector.Page{}, err)
				return
			}
		}
		number := 0
		for p, err := range graph.Pages[json.RawMessage](ctx, c.Graph, graph.Request{Path: k.path, Query: k.query, Priority: graph.Low}, patient) {
			if err != nil {
				yield(connector.Page{}, fmt.Errorf("read %s: %w", k.path, err))
				return
			}
			number++
			page := connector.Page{Next: connector.Cursor(at.Format(time.RFC3339))}
			for n, o := range p.Objects {
				r, reason := DecodeObject(c.ID, c.Kind, o.Raw, at)
				if reason != "" {
					page.Rejects = append(page.Rejects, connector.Reject{Source: signal.Source(c.Kind), Place: fmt.Sprintf("%s page %d item %d", k.path, number, n+1), Reason: reason, Raw: o.Raw})
					continue
				}
				page.Records = append(page.Records, r)
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}

// object is what objects of the directory have in common, and what names an account
// in them.
type object struct {
	ID                   string     `json:"id"`
	DisplayName          string     `json:"displayName"`
	AppID                string     `json:"appId"`
	AccountEnabled       *bool      `json:"accountEnabled"`
	State                string     `json:"state"`
	ServicePrincipalType string     `json:"servicePrincipalType"`
	OperatingSystem      string     `json:"operatingSystem"`
	DeviceID             string     `json:"deviceId"`
	ClientID             string     `json:"clientId"`    // of a grant: the application
	PrincipalID          string     `json:"principalId"` // of a grant or an assignment: who has it
	ConsentType          string     `json:"consentType"`
	Scope                string     `json:"scope"`
	RoleDefinitionID     string     `json:"roleDefinitionId"`
	DirectoryScopeID     string     `json:"directoryScopeId"`
	CreatedDateTime      graph.Time `json:"createdDateTime"`
	RegistrationDateTime graph.Time `json:"registrationDateTime"`
	Owners               []owner    `json:"owners"`
	RegisteredOwners     []owner    `json:"registeredOwners"`
}

type owner struct {
	Type              string `json:"@odata.type"`
	ID                string `json:"id"`
	AppID             string `json:"appId"`
	DisplayName       string `json:"displayName"`
	UserPrincipalName string `json:"userPrincipalName"`
}

// DecodeObject converts one object of the directory as Graph sends it, read at the
// given time. Whatever is not named here is in Raw.
func DecodeObject(t identity.Tenant, source record.Source, raw json.RawMessage, at time.Time) (r record.Record, reason string) {
	var o object
	if err := json.Unmarshal(raw, &o); err != nil {
		return record.Record{}, fmt.Sprintf("not an object of the directory: %v", err)
	}
	if o.ID == "" {
		return record.Record{}, "an object of the directory without an id"
	}
	r = record.Record{
		Tenant: t, Source: source, ExternalID: o.ID, Title: o.DisplayName, State: o.state(), AppID: o.AppID, DeviceID: o.DeviceID,
		Type: cmp.Or(o.ServicePrincipalType, o.OperatingSystem, o.ConsentType, o.RoleDefinitionID), Resource: cmp.Or(o.Scope, o.DirectoryScopeID),
		At: cmp.Or(o.CreatedDateTime.At, o.RegistrationDateTime.At, at), UpdatedAt: at, Raw: raw,
	}
	switch source {
	case record.ServicePrincipal:
		r.Subject = identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: o.ID, AppID: o.AppID, DisplayName: o.DisplayName}
	case record.Grant:
		r.Subject = identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: o.ClientID}
	}
	if o.PrincipalID != "" {
		r.Others = append(r.Others, record.Party{Role: "principal", Ref: identity.Ref{Provider: identity.EntraID, ObjectID: o.PrincipalID}})
	}
	for _, w := range append(o.Owners, o.RegisteredOwners...) {
		if w.ID == "" {
			continue // an owner of a type that may not be shown
		}
		ref := identity.Ref{Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: w.ID, UPN: w.UserPrincipalName, DisplayName: w.DisplayName}
		if w.AppID != "" || strings.HasSuffix(strings.ToLower(w.Type), "serviceprincipal") {
			ref.Kind, ref.AppID = identity.KindWorkload, w.AppID
		}
		r.Others = append(r.Others, record.Party{Role: "owner", Ref: ref})
	}
	return r, ""
}

// state is what an object is in, never empty: records with a state are kept as long
// as they are told of.
func (o object) state() string {
	switch {
	case o.State != "":
		return o.State
	case o.AccountEnabled == nil:
		return "present"
	case *o.AccountEnabled:
		return "enabled"
	}
	return "disabled"
}
