// Package defender reads Microsoft Defender through Microsoft Graph: the alerts
// that are about identities, the incidents they belong to, and how the sensors of
// Defender for Identity fare. It converts at the edge, keeps raw records, and
// neither retries nor stores.
package defender

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/record"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// Alerts reads security/alerts_v2. Those about identities become signals, the
// others records.
type Alerts struct {
	Tenant identity.Tenant
	Graph  *graph.Client
	Now    func() time.Time
	// Entra takes the alerts of Entra ID Protection as signals too: for a tenant
	// whose detections are not read.
	Entra bool
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
	Classification        string            `json:"classification"`
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
	UserAccount   *userAccount `json:"userAccount"` // userEvidence, mailboxEvidence and others
	IPAddress     string       `json:"ipAddress"`
	// servicePrincipalEvidence
	ServicePrincipalObjectID string `json:"servicePrincipalObjectId"`
	ServicePrincipalName     string `json:"servicePrincipalName"`
	AppID                    string `json:"appId"`
	// oauthApplicationEvidence
	ObjectID    string `json:"objectId"`
	DisplayName string `json:"displayName"`
}

// account returns whom the evidence names, if it names an account.
func (e evidence) account() (identity.Ref, bool) {
	switch {
	case e.UserAccount != nil:
		return e.UserAccount.ref(), true
	case e.ServicePrincipalObjectID != "":
		return identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: e.ServicePrincipalObjectID, AppID: e.AppID, DisplayName: e.ServicePrincipalName}, true
	case e.ObjectID != "" && strings.Contains(strings.ToLower(e.Type), "oauthapplication"):
		return identity.Ref{Provider: identity.EntraID, Kind: identity.KindWorkload, ObjectID: e.ObjectID, AppID: e.AppID, DisplayName: e.DisplayName}, true
	}
	return identity.Ref{}, false
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

// A standing is how an alert's evidence places an account, by its roles.
// Graph: microsoft.graph.security.evidenceRole.
type standing int

const (
	actor      standing = iota // compromised or attacker: at risk itself
	source                     // where it came from
	suspicious                 //
	unplaced                   // none of these roles, such as attacked or contextual
)

var standings = map[string]standing{"compromised": actor, "attacker": actor, "source": source, "suspicious": suspicious}

func (e evidence) standing() standing {
	best := unplaced
	for _, r := range slices.Concat(e.Roles, e.DetailedRoles) {
		if at, ok := standings[strings.ToLower(r)]; ok {
			best = min(best, at)
		}
	}
	return best
}

// ofIdentities are the products whose alerts are about identities. What the others
// raise is kept as a record: it belongs to an incident, but nobody has said that an
// account in it is at risk. Graph: microsoft.graph.security.serviceSource.
var ofIdentities = []string{
	"microsoftdefenderforidentity", "microsoft365defender", "microsoftcloudappsecurity", "microsoftdefenderforcloudapps", "microsoftappgovernance",
}

const (
	mdi   = "microsoftdefenderforidentity"
	entra = "azureadidentityprotection" // Entra ID Protection tells of the same detections itself
)

// A Told is what an alert is read as: a signal for each account that it says is at
// risk, or, when there is none, a record.
type Told struct {
	Signals []signal.Signal
	Records []record.Record
}

// Decode converts one alert as Graph sends it; see entraid.Decode. Alerts of Entra
// ID Protection repeat its detections; they become signals only if entraToo says
// that nobody reads those.
func Decode(t identity.Tenant, raw json.RawMessage, entraToo bool) (told Told, reason string) {
	var a alert
	if err := json.Unmarshal(raw, &a); err != nil {
		return Told{}, fmt.Sprintf("not an alert: %v", err)
	}
	if a.ID == "" {
		return Told{}, "an alert without an id"
	}
	s := a.signal(t, raw)
	subjects, others := a.subjects(&s)
	service := strings.ToLower(a.ServiceSource)
	speaks := service == "" || slices.Contains(ofIdentities, service) || service == entra && entraToo
	if !speaks || len(subjects) == 0 {
		return a.kept(s, slices.Concat(subjects, others)), ""
	}
	return Told{Signals: s.Each(subjects, others)}, ""
}

// signal converts all but the accounts.
func (a alert) signal(t identity.Tenant, raw json.RawMessage) signal.Signal {
	s := signal.Signal{
		Tenant: t, Source: signal.DefenderAlert, ExternalID: a.ID,
		Type: a.Title, Title: a.Title, Detector: a.DetectorID, Level: signal.FromSeverity(a.Severity), State: signal.State(a.Status),
		Detail: determination(a.Determination), Classification: classification(a.Classification),
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
	return s
}

// classification returns Microsoft's word in its own spelling, an unheard-of one as it
// came, and nothing for unknown.
func classification(v string) string {
	for _, k := range []string{signal.TruePositive, signal.FalsePositive, signal.ExpectedActivity} {
		if strings.EqualFold(k, v) {
			return k
		}
	}
	if strings.EqualFold(v, "unknown") {
		return ""
	}
	return v
}

// determination returns the metadata's word for those that the pages of the reference
// print otherwise.
func determination(v string) string {
	switch strings.ToLower(v) {
	case "compromiseduser":
		return "compromisedAccount"
	case "clean":
		return "notMalicious"
	case "insufficientdata":
		return "notEnoughDataToValidate"
	case "confirmeduseractivity":
		return "confirmedActivity"
	}
	return v
}

// subjects returns the accounts that the alert says are at risk, and the other ones
// it names; it notes in s what else the evidence says. At risk are those that act:
// compromised and attackers, else the sources, else the suspicious ones. A computer
// counts only where no person does. Defender for Identity leaves roles out of some
// alerts; those are about the first account they name.
func (a alert) subjects(s *signal.Signal) (subjects, others []identity.Ref) {
	placed := map[standing][]identity.Ref{}
	for n, raw := range a.Evidence {
		var e evidence
		if err := json.Unmarshal(raw, &e); err != nil {
			s.Notes = append(s.Notes, fmt.Sprintf("evidence %d is not an object: %v", n+1, err))
			continue
		}
		if e.IPAddress != "" && s.IP == "" {
			s.IP = e.IPAddress
		}
		if ref, ok := e.account(); ok {
			at := e.standing()
			placed[at] = append(placed[at], ref)
		}
	}
	for at := actor; at <= unplaced; at++ {
		list := placed[at]
		switch {
		case len(list) == 0:
		case len(subjects) > 0 || at == unplaced && !strings.EqualFold(a.ServiceSource, mdi):
			others = append(others, list...)
		case at == unplaced:
			people, rest := apart(list)
			all := slices.Concat(people, rest)
			subjects, others = all[:1], append(others, all[1:]...)
		default:
			people, computers := apart(list)
			if len(people) == 0 {
				people, computers = computers, nil
			}
			subjects, others = people, append(others, computers...)
		}
	}
	return subjects, others
}

// apart divides accounts into computers and all else, each in its order.
func apart(list []identity.Ref) (people, computers []identity.Ref) {
	for _, r := range list {
		if r.Kind == identity.KindComputer {
			computers = append(computers, r)
		} else {
			people = append(people, r)
		}
	}
	return people, computers
}

// kept is the alert as a record.
func (a alert) kept(s signal.Signal, accounts []identity.Ref) Told {
	r := record.Record{
		Tenant: s.Tenant, Source: record.Alert, ExternalID: s.ExternalID, Type: s.Type, Title: s.Title, State: cmp.Or(string(s.State), "unknown"),
		At: s.At(), UpdatedAt: s.UpdatedAt, IP: s.IP, App: a.ServiceSource, CorrelationID: a.IncidentID, Notes: s.Notes, Raw: s.Raw,
	}
	for _, ref := range accounts {
		r.Others = append(r.Others, record.Party{Ref: ref})
	}
	return Told{Records: []record.Record{r}}
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
	return changed(ctx, c.Graph, c.Now, cur, reading{path: "/security/alerts_v2", top: "200"}, func(page *connector.Page, raw json.RawMessage, place string) time.Time {
		told, reason := Decode(c.Tenant, raw, c.Entra)
		if reason != "" {
			page.Rejects = append(page.Rejects, connector.Reject{Source: signal.DefenderAlert, Place: place, Reason: reason, Raw: raw})
			return time.Time{}
		}
		page.Signals = append(page.Signals, told.Signals...)
		page.Records = append(page.Records, told.Records...)
		if len(told.Signals) > 0 {
			return told.Signals[0].UpdatedAt
		}
		return told.Records[0].UpdatedAt
	})
}
