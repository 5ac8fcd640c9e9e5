// Package defender reads alerts of Microsoft Defender for Identity through
// Microsoft Graph's security/alerts_v2. It converts at the edge, keeps raw
// records, and neither retries nor stores.
package defender

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Alerts reads security/alerts_v2, those that Defender for Identity raised.
type Alerts struct {
	Tenant identity.Tenant
	Graph  *graph.Client
	Now    func() time.Time
}

var (
	_ connector.Source    = Alerts{}
	_ connector.Permitted = Alerts{}
)

// Name is connector.Source's.
func (Alerts) Name() connector.Name { return "defender.alerts" }

// Permissions is connector.Permitted's. Graph: security-list-alerts_v2.
func (Alerts) Permissions() []string { return []string{"SecurityAlert.Read.All"} }

// alert is Graph's microsoft.graph.security.alert, the fields we use.
type alert struct {
	ID                    string            `json:"id"`
	IncidentID            string            `json:"incidentId"`
	Status                string            `json:"status"`
	Severity              string            `json:"severity"`
	Determination         string            `json:"determination"`
	ServiceSource         string            `json:"serviceSource"`
	DetectorID            string            `json:"detectorId"`
	Title                 string            `json:"title"`
	MitreTechniques       []string          `json:"mitreTechniques"`
	CreatedDateTime       graph.Time        `json:"createdDateTime"`
	LastUpdateDateTime    graph.Time        `json:"lastUpdateDateTime"`
	FirstActivityDateTime graph.Time        `json:"firstActivityDateTime"`
	LastActivityDateTime  graph.Time        `json:"lastActivityDateTime"`
	Evidence              []json.RawMessage `json:"evidence"`
}

type evidence struct {
	Type          string       `json:"@odata.type"`
	Roles         []string     `json:"roles"`
	DetailedRoles []string     `json:"detailedRoles"`
	UserAccount   *userAccount `json:"userAccount"`
	IPAddress     string       `json:"ipAddress"`
}

// userAccount is Graph's microsoft.graph.security.userAccount. For an account
// that lives on premises only azureAdUserId is null.
type userAccount struct {
	AccountName               string `json:"accountName"`
	DomainName                string `json:"domainName"`
	UserSID                   string `json:"userSid"`
	AzureADUserID             string `json:"azureAdUserId"`
	UserPrincipalName         string `json:"userPrincipalName"`
	DisplayName               string `json:"displayName"`
	ActiveDirectoryObjectGUID string `json:"activeDirectoryObjectGuid"`
}

func (u userAccount) ref() identity.Ref {
	r := identity.Ref{
		Provider: identity.EntraID, Kind: identity.KindPerson,
		ObjectID: u.AzureADUserID, SID: u.UserSID, GUID: u.ActiveDirectoryObjectGUID,
		UPN: u.UserPrincipalName, SAM: u.AccountName, Domain: u.DomainName, DisplayName: u.DisplayName,
	}
	if u.AzureADUserID == "" {
		r.Provider = identity.ActiveDirectory
	}
	if strings.HasSuffix(u.AccountName, "$") {
		r.Kind = identity.KindComputer
	}
	return r
}

// actorRoles are the evidence roles of whoever did it, strongest first; an alert
// without them is about the first account it names.
// Graph: microsoft.graph.security.evidenceRole.
var actorRoles = []string{"compromised", "attacker", "source", "suspicious"}

// Decode converts one alert as Graph sends it; see entraid.Decode.
func Decode(t identity.Tenant, raw json.RawMessage) (s signal.Signal, reason string) {
	var a alert
	if err := json.Unmarshal(raw, &a); err != nil {
		return signal.Signal{}, fmt.Sprintf("not an alert: %v", err)
	}
	return a.signal(t, raw)
}

func (a alert) signal(t identity.Tenant, raw json.RawMessage) (signal.Signal, string) {
	if a.ID == "" {
		return signal.Signal{}, "an alert without an id"
	}
	s := signal.Signal{
		Tenant: t, Source: signal.DefenderAlert, ExternalID: a.ID,
		Type: a.Title, Title: a.Title, Detector: a.DetectorID, Level: signal.FromSeverity(a.Severity), State: signal.State(a.Status), Detail: a.Determination,
		ActivityAt: maxTime(a.LastActivityDateTime.At, a.FirstActivityDateTime.At), DetectedAt: a.CreatedDateTime.At, UpdatedAt: a.LastUpdateDateTime.At,
		IncidentID: a.IncidentID, Techniques: a.MitreTechniques, Raw: raw,
	}
	if s.UpdatedAt.IsZero() {
		s.UpdatedAt = s.DetectedAt
	}
	for _, f := range []struct {
		name string
		at   graph.Time
	}{{"createdDateTime", a.CreatedDateTime}, {"lastUpdateDateTime", a.LastUpdateDateTime}} {
		if f.at.Malformed() {
			s.Notes = append(s.Notes, fmt.Sprintf("%s is no time: %.40q", f.name, f.at.Raw))
		}
	}
	best := 2*len(actorRoles) + 2
	var refs []identity.Ref
	for n, raw := range a.Evidence {
		var e evidence
		if err := json.Unmarshal(raw, &e); err != nil {
			s.Notes = append(s.Notes, fmt.Sprintf("evidence %d is not an object: %v", n+1, err))
			continue
		}
		if e.IPAddress != "" && s.IP == "" {
			s.IP = e.IPAddress
		}
		if e.UserAccount == nil {
			continue
		}
		ref := e.UserAccount.ref()
		refs = append(refs, ref)
		if rank := e.rank(); rank < best {
			best, s.Subject = rank, ref
		}
	}
	for _, r := range refs {
		if r != s.Subject {
			s.Others = append(s.Others, r)
		}
	}
	if len(refs) == 0 {
		return s, "an alert that names no account"
	}
	return s, ""
}

// rank orders the accounts of an alert by how likely they are its subject: by how
// early their roles stand in actorRoles, people before computers. Evidence
// without any of the roles comes last, in the order it was sent.
func (e evidence) rank() int {
	rank := len(actorRoles)
	for _, r := range append(slices.Clone(e.Roles), e.DetailedRoles...) {
		for n, actor := range actorRoles {
			if strings.EqualFold(r, actor) {
				rank = min(rank, n)
			}
		}
	}
	rank *= 2
	if e.UserAccount.ref().Kind == identity.KindComputer {
		rank++
	}
	return rank
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Pages is connector.Source's. alerts_v2 knows no $orderby, so each page is
// sorted here and the cursor moves with the last page only.
func (c Alerts) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	return func(yield func(connector.Page, error) bool) {
		w, err := connector.ParseWindow(cur)
		if err != nil {
			yield(connector.Page{}, err)
			return
		}
		now := c.Now()
		from, next := w.From(now)
		filter := "serviceSource eq 'microsoftDefenderForIdentity'"
		if !from.IsZero() {
			filter += " and lastUpdateDateTime ge " + from.UTC().Format("2006-01-02T15:04:05Z")
		}
		r := graph.Request{Path: "/security/alerts_v2", Query: url.Values{"$filter": {filter}, "$top": {"200"}}, Priority: graph.Low}
		number := 0
		for p, err := range graph.Pages[alert](ctx, c.Graph, r, graph.Paging{Wait: time.Minute}) {
			if err != nil {
				yield(connector.Page{}, fmt.Errorf("read alerts: %w", err))
				return
			}
			number++
			page := connector.Page{Next: cur}
			for n, o := range p.Objects {
				s, reason := Decode(c.Tenant, o.Raw)
				if reason != "" {
					page.Rejects = append(page.Rejects, connector.Reject{Source: signal.DefenderAlert, Place: fmt.Sprintf("alerts_v2 page %d item %d", number, n+1), Reason: reason, Raw: o.Raw})
					continue
				}
				page.Signals = append(page.Signals, s)
				next = next.Saw(s.UpdatedAt, now)
			}
			slices.SortStableFunc(page.Signals, func(a, b signal.Signal) int {
				return cmp.Or(a.UpdatedAt.Compare(b.UpdatedAt), strings.Compare(a.ExternalID, b.ExternalID))
			})
			if p.NextLink == "" {
				page.Next = next.Cursor()
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}
