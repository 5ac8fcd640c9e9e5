package entraid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// userFields is what is read of a user. Graph: user resource, v1.0.
const userFields = "id,displayName,userPrincipalName,accountEnabled,userType,onPremisesSyncEnabled,onPremisesSecurityIdentifier," +
	"onPremisesSamAccountName,onPremisesDomainName,onPremisesImmutableId,lastPasswordChangeDateTime,signInSessionsValidFromDateTime"

type user struct {
	ID                              string     `json:"id"`
	DisplayName                     string     `json:"displayName"`
	UserPrincipalName               string     `json:"userPrincipalName"`
	AccountEnabled                  *bool      `json:"accountEnabled"`
	UserType                        string     `json:"userType"`
	OnPremisesSyncEnabled           *bool      `json:"onPremisesSyncEnabled"`
	OnPremisesSecurityIdentifier    string     `json:"onPremisesSecurityIdentifier"`
	OnPremisesSamAccountName        string     `json:"onPremisesSamAccountName"`
	OnPremisesDomainName            string     `json:"onPremisesDomainName"`
	OnPremisesImmutableID           string     `json:"onPremisesImmutableId"`
	LastPasswordChangeDateTime      graph.Time `json:"lastPasswordChangeDateTime"`
	SignInSessionsValidFromDateTime graph.Time `json:"signInSessionsValidFromDateTime"`
}

func (u user) facts(at time.Time) connector.AccountFacts {
	synced := u.OnPremisesSyncEnabled != nil && *u.OnPremisesSyncEnabled // null: never synced
	found := true
	return connector.AccountFacts{
		ImmutableID: u.OnPremisesImmutableID,
		Ref: identity.Ref{
			Provider: identity.EntraID, Kind: identity.KindPerson, ObjectID: u.ID, SID: u.OnPremisesSecurityIdentifier,
			UPN: u.UserPrincipalName, DisplayName: u.DisplayName, SAM: u.OnPremisesSamAccountName, Domain: u.OnPremisesDomainName,
		},
		Facts: identity.Facts{
			AsOf: at, Found: &found, Enabled: u.AccountEnabled, UserType: u.UserType, Synced: &synced,
			LastPasswordChange: u.LastPasswordChangeDateTime.At, SessionsValidFrom: u.SignInSessionsValidFromDateTime.At,
		},
	}
}

// Users reads single users, for identities with an open case.
type Users struct{ Tenant }

var (
	_ connector.Lookup    = Users{}
	_ connector.Permitted = Users{}
)

// Permissions is connector.Permitted's. Graph: user-get with accountEnabled.
func (Users) Permissions() []string { return []string{"User.Read.All"} }

// Facts is connector.Lookup's. It asks for up to 20 users in one request; Refs
// without an Entra object id are left out.
func (c Users) Facts(ctx context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
	var out []connector.AccountFacts
	var ids []string
	for _, r := range refs {
		if r.ObjectID != "" && r.Kind != identity.KindWorkload {
			ids = append(ids, r.ObjectID)
		}
	}
	if len(ids) == 1 {
		f, err := c.one(ctx, ids[0])
		if err != nil {
			return nil, err
		}
		return []connector.AccountFacts{f}, nil
	}
	for len(ids) > 0 {
		n := min(len(ids), graph.MaxBatch)
		facts, err := c.batch(ctx, ids[:n])
		if err != nil {
			return out, err
		}
		out, ids = append(out, facts...), ids[n:]
	}
	return out, nil
}

func (c Users) request(id string) graph.Request {
	return graph.Request{Path: graph.Path("users", id), Query: url.Values{"$select": {userFields}}}
}

func (c Users) one(ctx context.Context, id string) (connector.AccountFacts, error) {
	var u user
	r := c.request(id)
	r.Out = &u
	_, err := c.Graph.Do(ctx, r)
	if errors.Is(err, fault.NotFound) {
		return missing(id, c.Now()), nil
	}
	if err != nil {
		return connector.AccountFacts{}, fmt.Errorf("read user %s: %w", id, err)
	}
	return u.facts(c.Now()), nil
}

func (c Users) batch(ctx context.Context, ids []string) ([]connector.AccountFacts, error) {
	parts := make([]graph.Part, len(ids))
	for n, id := range ids {
		parts[n] = graph.Part{Request: c.request(id)}
	}
	res, err := c.Graph.Batch(ctx, parts)
	if err != nil {
		return nil, fmt.Errorf("read %d users: %w", len(ids), err)
	}
	var out []connector.AccountFacts
	var errs []error
	for n, p := range res.Parts {
		var u user
		switch {
		case errors.Is(p.Err, fault.NotFound):
			out = append(out, missing(ids[n], c.Now()))
		case p.Err != nil:
			errs = append(errs, fmt.Errorf("read user %s: %w", ids[n], p.Err))
		case json.Unmarshal(p.Response.Body, &u) != nil || !strings.EqualFold(u.ID, ids[n]):
			errs = append(errs, fault.Errorf(fault.Unavailable, "read user %s: Graph answered something else", ids[n]))
		default:
			out = append(out, u.facts(c.Now()))
		}
	}
	return out, errors.Join(errs...)
}

func missing(id string, at time.Time) connector.AccountFacts {
	found := false
	return connector.AccountFacts{
		Ref:   identity.Ref{Provider: identity.EntraID, ObjectID: id},
		Facts: identity.Facts{AsOf: at, Found: &found},
	}
}

// Registration reads reports/authenticationMethods/userRegistrationDetails by
// list: who can pass MFA and who has no password.
type Registration struct{ Tenant }

var (
	_ connector.Source    = Registration{}
	_ connector.Permitted = Registration{}
)

// Name is connector.Source's.
func (Registration) Name() connector.Name { return "entraid.registration" }

// Permissions is connector.Permitted's. Graph: userRegistrationDetails.
func (Registration) Permissions() []string { return []string{"AuditLog.Read.All"} }

type registration struct {
	ID                    string `json:"id"`
	UserPrincipalName     string `json:"userPrincipalName"`
	UserDisplayName       string `json:"userDisplayName"`
	IsMFARegistered       *bool  `json:"isMfaRegistered"`
	IsPasswordlessCapable *bool  `json:"isPasswordlessCapable"`
}

// DecodeRegistration converts one userRegistrationDetails as Graph sends it, read at
// the given time.
func DecodeRegistration(raw json.RawMessage, at time.Time) (f connector.AccountFacts, reason string) {
	var r registration
	if err := json.Unmarshal(raw, &r); err != nil {
		return connector.AccountFacts{}, fmt.Sprintf("not a userRegistrationDetails: %v", err)
	}
	if r.ID == "" {
		return connector.AccountFacts{}, "a userRegistrationDetails without an id"
	}
	return connector.AccountFacts{
		Ref: identity.Ref{
			Provider: identity.EntraID, Kind: identity.KindPerson, // only people register methods
			ObjectID: r.ID, UPN: r.UserPrincipalName, DisplayName: r.UserDisplayName,
		},
		Facts: identity.Facts{RegistrationAsOf: at, MFARegistered: r.IsMFARegistered, Passwordless: r.IsPasswordlessCapable},
	}, ""
}

// Pages is connector.Source's: each reading is of the whole list, because the
// report has no "changed since".
func (c Registration) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		at := c.Now()
		if err := c.paceReports(ctx); err != nil {
			yield(connector.Page{}, err)
			return
		}
		r := graph.Request{Path: "/reports/authenticationMethods/userRegistrationDetails", Query: url.Values{"$top": {"1000"}}, Priority: graph.Low}
		// Graph: this report allows 5 requests in 10 seconds and names the wait.
		for p, err := range graph.Pages[registration](ctx, c.Graph, r, graph.Paging{Wait: 2 * time.Minute}) {
			if err != nil {
				yield(connector.Page{}, fmt.Errorf("read registration details: %w", err))
				return
			}
			page := connector.Page{Next: cur}
			for n, o := range p.Objects {
				f, reason := DecodeRegistration(o.Raw, at)
				if reason != "" {
					page.Rejects = append(page.Rejects, connector.Reject{Source: "entra.userRegistrationDetails", Place: fmt.Sprintf("item %d", n+1), Reason: reason, Raw: o.Raw})
					continue
				}
				page.Facts = append(page.Facts, f)
			}
			if p.NextLink == "" {
				page.Next = connector.Cursor(at.UTC().Format(time.RFC3339))
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}
