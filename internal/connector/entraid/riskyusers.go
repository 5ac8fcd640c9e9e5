package entraid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// RiskyUsers reads identityProtection/riskyUsers: Microsoft's standing opinion
// of each user.
type RiskyUsers struct{ Tenant }

var (
	_ connector.Source    = RiskyUsers{}
	_ connector.Permitted = RiskyUsers{}
)

// Name is connector.Source's.
func (RiskyUsers) Name() connector.Name { return "entraid.riskyUsers" }

// Permissions is connector.Permitted's. Graph: riskyUser-list.
func (RiskyUsers) Permissions() []string { return []string{"IdentityRiskyUser.Read.All"} }

type riskyUser struct {
	ID                      string     `json:"id"`
	IsDeleted               bool       `json:"isDeleted"`
	IsProcessing            bool       `json:"isProcessing"`
	RiskLevel               string     `json:"riskLevel"`
	RiskState               string     `json:"riskState"`
	RiskDetail              string     `json:"riskDetail"`
	RiskLastUpdatedDateTime graph.Time `json:"riskLastUpdatedDateTime"`
	UserDisplayName         string     `json:"userDisplayName"`
	UserPrincipalName       string     `json:"userPrincipalName"`
	UserID                  string     `json:"userId"`      // history items only
	InitiatedBy             string     `json:"initiatedBy"` // history items only
}

func (u riskyUser) risk(t identity.Tenant, raw json.RawMessage) signal.AccountRisk {
	return signal.AccountRisk{
		Tenant: t,
		Subject: identity.Ref{
			Provider: identity.EntraID, Kind: identity.KindPerson,
			ObjectID: u.ID, UPN: u.UserPrincipalName, DisplayName: u.UserDisplayName,
		},
		Level: signal.Level(u.RiskLevel), State: signal.State(u.RiskState), Detail: u.RiskDetail,
		Processing: u.IsProcessing, Deleted: u.IsDeleted, By: u.InitiatedBy,
		UpdatedAt: u.RiskLastUpdatedDateTime.At, Raw: raw,
	}
}

// DecodeRiskyUser converts one riskyUser, or one item of its history, as Graph sends
// it; see Decode.
func DecodeRiskyUser(t identity.Tenant, raw json.RawMessage) (r signal.AccountRisk, reason string) {
	var u riskyUser
	if err := json.Unmarshal(raw, &u); err != nil {
		return signal.AccountRisk{}, fmt.Sprintf("not a riskyUser: %v", err)
	}
	u.ID = cmp.Or(u.UserID, u.ID) // an item of the history has an id of its own
	if u.ID == "" {
		return signal.AccountRisk{}, "a riskyUser without an id"
	}
	return u.risk(t, raw), ""
}

// Pages is connector.Source's.
func (c RiskyUsers) Pages(ctx context.Context, cur connector.Cursor) iter.Seq2[connector.Page, error] {
	return changed[riskyUser](ctx, c.Tenant, cur, reading{path: "/identityProtection/riskyUsers", field: "riskLastUpdatedDateTime"},
		func(page *connector.Page, o graph.Object[riskyUser], place string) time.Time {
			r, reason := DecodeRiskyUser(c.ID, o.Raw)
			if reason != "" {
				page.Rejects = append(page.Rejects, connector.Reject{Source: "entra.riskyUser", Place: place, Reason: reason, Raw: o.Raw})
				return time.Time{}
			}
			page.Accounts = append(page.Accounts, r)
			return r.UpdatedAt
		})
}

var _ connector.Historian = Users{}

// History is connector.Historian's, of people and of applications. It costs one
// request of identity protection's one a second.
func (c Users) History(ctx context.Context, ref identity.Ref) ([]signal.AccountRisk, error) {
	if ref.ObjectID == "" || ref.Kind == identity.KindAgent {
		return nil, nil
	}
	if ref.Kind == identity.KindWorkload {
		return history(ctx, c.Tenant, "riskyServicePrincipals", ref, func(w riskyWorkload, raw json.RawMessage) signal.AccountRisk {
			w.ID = ref.ObjectID
			return w.risk(c.ID, raw)
		})
	}
	return history(ctx, c.Tenant, "riskyUsers", ref, func(u riskyUser, raw json.RawMessage) signal.AccountRisk {
		u.ID = ref.ObjectID
		return u.risk(c.ID, raw)
	})
}

func history[T any](ctx context.Context, c Tenant, collection string, ref identity.Ref, risk func(T, json.RawMessage) signal.AccountRisk) ([]signal.AccountRisk, error) {
	if err := c.pace(ctx); err != nil {
		return nil, err
	}
	r := graph.Request{Path: graph.Path("identityProtection", collection, ref.ObjectID, "history"), Query: url.Values{"$top": {top}}, Priority: graph.Low}
	for p, err := range graph.Pages[T](ctx, c.Graph, r, graph.Paging{}) {
		if errors.Is(err, fault.NotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the risk history of %s: %w", ref.Name(), err)
		}
		// One page is years of it; a second would cost another of the few requests.
		var out []signal.AccountRisk
		for _, o := range p.Objects {
			if o.Err == nil { // one strange item does not hide the others; it is history, not a signal
				out = append(out, risk(o.Value, o.Raw))
			}
		}
		return out, nil
	}
	return nil, nil
}
