package entraid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
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

// workloadFields is what is read of an application's service principal. Graph:
// servicePrincipal resource, v1.0.
const workloadFields = "id,appId,displayName,accountEnabled,servicePrincipalType"

// workload is Graph's servicePrincipal, the fields we use.
type workload struct {
	ID             string `json:"id"`
	AppID          string `json:"appId"`
	DisplayName    string `json:"displayName"`
	AccountEnabled *bool  `json:"accountEnabled"`
}

func (w workload) facts(kind identity.Kind, at time.Time) connector.AccountFacts {
	found := true
	return connector.AccountFacts{
		Ref:   identity.Ref{Provider: identity.EntraID, Kind: kind, ObjectID: w.ID, AppID: w.AppID, DisplayName: w.DisplayName},
		Facts: identity.Facts{AsOf: at, Found: &found, Enabled: w.AccountEnabled},
	}
}

// Users reads single users and service principals, for identities with an open case.
type Users struct{ Tenant }

var (
	_ connector.Lookup    = Users{}
	_ connector.Permitted = Users{}
	_ connector.Recorder  = Users{}
)

// Permissions is connector.Permitted's. Graph: user-get with accountEnabled,
// serviceprincipal-get, authentication-list-methods.
func (Users) Permissions() []string {
	return []string{"User.Read.All", "Application.Read.All", "UserAuthenticationMethod.Read.All"}
}

func isWorkload(r identity.Ref) bool {
	return r.Kind == identity.KindWorkload || r.Kind == identity.KindAgent
}

// Facts is connector.Lookup's. It asks for up to 20 accounts in one request; Refs
// without an Entra object id are left out. People come before workloads, and what
// could be read comes back whatever else failed.
func (c Users) Facts(ctx context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
	var people, workloads, all []identity.Ref
	for _, r := range refs {
		switch {
		case r.ObjectID == "":
		case isWorkload(r):
			workloads = append(workloads, r)
		default:
			people = append(people, r)
		}
	}
	if all = append(people, workloads...); len(all) == 1 {
		f, err := c.one(ctx, all[0])
		if err != nil {
			return nil, err
		}
		return []connector.AccountFacts{f}, nil
	}
	var out []connector.AccountFacts
	var errs []error
	for _, some := range [][]identity.Ref{people, workloads} {
		for part := range slices.Chunk(some, graph.MaxBatch) {
			facts, err := c.batch(ctx, part)
			if out = append(out, facts...); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return out, errors.Join(errs...)
}

func (c Users) request(r identity.Ref) graph.Request {
	if isWorkload(r) {
		return graph.Request{Path: graph.Path("servicePrincipals", r.ObjectID), Query: url.Values{"$select": {workloadFields}}}
	}
	return graph.Request{Path: graph.Path("users", r.ObjectID), Query: url.Values{"$select": {userFields}}}
}

// read makes facts of an answer about the account, or of the error in its place.
func (c Users) read(r identity.Ref, body []byte, err error) (connector.AccountFacts, error) {
	at := c.Now()
	switch {
	case errors.Is(err, fault.NotFound):
		f := missing(r.ObjectID, at)
		f.Ref.Kind = r.Kind
		return f, nil
	case err != nil:
		return connector.AccountFacts{}, fmt.Errorf("read account %s: %w", r.ObjectID, err)
	}
	var u user
	var w workload
	if isWorkload(r) {
		if err = json.Unmarshal(body, &w); err == nil && strings.EqualFold(w.ID, r.ObjectID) {
			return w.facts(r.Kind, at), nil
		}
	} else if err = json.Unmarshal(body, &u); err == nil && strings.EqualFold(u.ID, r.ObjectID) {
		return u.facts(at), nil
	}
	return connector.AccountFacts{}, fault.Errorf(fault.Unavailable, "read account %s: Graph answered something else", r.ObjectID)
}

func (c Users) one(ctx context.Context, r identity.Ref) (connector.AccountFacts, error) {
	res, err := c.Graph.Do(ctx, c.request(r))
	return c.read(r, res.Body, err)
}

func (c Users) batch(ctx context.Context, refs []identity.Ref) ([]connector.AccountFacts, error) {
	parts := make([]graph.Part, len(refs))
	for n, r := range refs {
		parts[n] = graph.Part{Request: c.request(r)}
	}
	res, err := c.Graph.Batch(ctx, parts)
	if err != nil {
		return nil, fmt.Errorf("read %d accounts: %w", len(refs), err)
	}
	var out []connector.AccountFacts
	var errs []error
	for n, p := range res.Parts {
		if f, err := c.read(refs[n], p.Response.Body, p.Err); err != nil {
			errs = append(errs, err)
		} else {
			out = append(out, f)
		}
	}
	return out, errors.Join(errs...)
}

// Records is connector.Recorder's: the ways in which a person can sign in, each with
// when it was added. It costs one request of the reports' five in ten seconds.
func (c Users) Records(ctx context.Context, ref identity.Ref) ([]record.Record, error) {
	if ref.ObjectID == "" || isWorkload(ref) {
		return nil, nil
	}
	if err := c.paceReports(ctx); err != nil {
		return nil, err
	}
	at := c.Now().UTC()
	var out []record.Record
	r := graph.Request{Path: graph.Path("users", ref.ObjectID, "authentication", "methods"), Priority: graph.Low}
	for o, err := range graph.Objects[json.RawMessage](ctx, c.Graph, r, patient) {
		if errors.Is(err, fault.NotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read how %s can sign in: %w", ref.Name(), err)
		}
		m, reason := DecodeMethod(c.ID, ref, o.Raw, at)
		if reason == "" { // what is none does not hide the others
			out = append(out, m)
		}
	}
	return out, nil
}

// DecodeMethod converts one authenticationMethod of a person as Graph sends it, read
// at the given time. Its id counts within the person only.
func DecodeMethod(t identity.Tenant, of identity.Ref, raw json.RawMessage, at time.Time) (r record.Record, reason string) {
	r, reason = DecodeObject(t, record.Method, raw, at)
	var m struct {
		Type             string     `json:"@odata.type"`
		CreationDateTime graph.Time `json:"creationDateTime"` // of a FIDO2 key
		PhoneNumber      string     `json:"phoneNumber"`
		EmailAddress     string     `json:"emailAddress"`
	}
	if reason == "" {
		if err := json.Unmarshal(raw, &m); err != nil {
			reason = fmt.Sprintf("not an authenticationMethod: %v", err)
		}
	}
	if reason != "" {
		return record.Record{}, reason
	}
	if !m.CreationDateTime.At.IsZero() {
		r.At = m.CreationDateTime.At
	}
	r.Type = strings.TrimSuffix(m.Type[strings.LastIndexByte(m.Type, '.')+1:], "AuthenticationMethod")
	r.Title = cmp.Or(r.Title, m.PhoneNumber, m.EmailAddress)
	r.ExternalID, r.Subject = of.ObjectID+"/"+r.ExternalID, of
	return r, ""
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
