package playbook

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/question"
)

// planDigest is the canonical form of what a plan does: fixed field order, maps
// sorted by key. What is not here may change without asking people again.
type planDigest struct {
	Form      string          `json:"form"`
	Playbook  string          `json:"playbook"` // its hash covers conditions and guards
	Catalogue string          `json:"catalogue"`
	Tenant    identity.Tenant `json:"tenant"`
	Identity  identity.ID     `json:"identity"`
	Mode      Mode            `json:"mode"`
	Stopped   bool            `json:"stopped"` // refused or held: nothing is done
	Rate      *Rate           `json:"rate"`
	Undo      bool            `json:"undoOnFailure"`
	Page      bool            `json:"pageOnFailure,omitempty"`
	Hold      bool            `json:"holdOnFailure,omitempty"`
	Steps     []stepDigest    `json:"steps"`
}

type stepDigest struct {
	ID       string            `json:"id"`
	Uses     action.Name       `json:"uses"`
	Action   action.Name       `json:"action"`
	Route    identity.Provider `json:"route"`
	Target   []identity.Key    `json:"target"`
	Params   map[string]any    `json:"params"`
	Skipped  bool              `json:"skipped"`
	Held     bool              `json:"held"`
	After    After             `json:"after"`
	OnError  OnError           `json:"onError"`
	Contains bool              `json:"contains"`
	Within   time.Duration     `json:"within"`
	Approval *approval.Rule    `json:"approval"`

	Kind      Kind              `json:"kind"`
	Of        string            `json:"of"`
	Each      map[string]string `json:"each"`
	Bound     int               `json:"bound"`
	Group     string            `json:"group"`
	Later     string            `json:"later"` // the condition that is still to be decided
	Until     string            `json:"until"`
	Ask       question.Who      `json:"ask,omitempty"`
	OnTimeout OnTimeout         `json:"onTimeout"`
	End       End               `json:"end"`
	TTL       time.Duration     `json:"ttl"`
	MaxTTL    time.Duration     `json:"maxTTL,omitempty"`
	Timeout   time.Duration     `json:"timeout"`
}

// digest returns the plan's hash: SHA-256, in hexadecimal, over the canonical
// JSON of what will be done.
func (p Plan) digest() (string, error) {
	d := planDigest{
		Form: "cordon.plan/v1", Playbook: p.Playbook.Hash, Catalogue: p.Catalogue, Tenant: p.Tenant,
		Identity: p.Identity, Mode: p.Mode, Stopped: p.Refused != "" || p.Held != "", Rate: p.Rate, Undo: p.UndoOnFailure,
		Page: p.PageOnFailure, Hold: p.HoldOnFailure,
	}
	for _, s := range p.Steps {
		later := ""
		if s.Later {
			later = s.If
		}
		d.Steps = append(d.Steps, stepDigest{
			ID: s.ID, Uses: s.Uses, Action: s.Action, Route: s.Route, Target: s.Account.Keys(), Params: s.Params,
			Skipped: s.Skip != "", Held: s.Held != "", After: s.After, OnError: s.OnError, Contains: s.Contains,
			Within: s.Within, Approval: s.Approval, Kind: s.Kind, Of: s.Of, Each: s.Each, Bound: s.Bound, Group: s.Group,
			Later: later, Until: s.Until, Ask: s.Ask, OnTimeout: s.OnTimeout, End: s.End, TTL: s.TTL, MaxTTL: s.MaxTTL, Timeout: s.Timeout,
		})
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return "", fmt.Errorf("plan of %s for %s: hash: %w", p.Playbook.ID, p.Identity, err)
	}
	sum := sha256.Sum256(buf.Bytes())
	return hex.EncodeToString(sum[:]), nil
}
