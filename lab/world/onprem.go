package world

import (
	"slices"
	"strings"
	"time"
)

// The tenant's domains: people sign in under CloudDomain; Active Directory is
// ADDomain, NTDomain for short.
const (
	CloudDomain = "cordon.example"
	ADDomain    = "corp.example"
	NTDomain    = "CORP"
)

// adNames is the part of an AD account that never changes.
type adNames struct {
	sid, guid, sam, domain, dn string
	syncedAt                   int64
}

// adAccount is one user object of Active Directory; the mutable part is only
// read under the lock.
type adAccount struct {
	*adNames
	pos        int
	display    string
	enabled    bool
	passwordAt int64 // 0: must change at next logon
	userID     string
	identity   string
	okta       *OktaState // nil: none
}

// nextSync is the first synchronisation run after now.
func (w *World) nextSync(now time.Time) time.Time {
	if w.delays.SyncCycle <= 0 {
		return now
	}
	n := now.Sub(w.start)/w.delays.SyncCycle + 1
	return w.start.Add(n * w.delays.SyncCycle)
}

// lastSync is the latest run not after now.
func (w *World) lastSync(now time.Time) time.Time {
	if w.delays.SyncCycle <= 0 {
		return now
	}
	n := now.Sub(w.start) / w.delays.SyncCycle
	if now.Before(w.start) {
		n--
	}
	return w.start.Add(n * w.delays.SyncCycle)
}

// syncLater makes the next cycle bring a synchronised account's cloud state in
// line with Active Directory, which masters accountEnabled.
func (w *World) syncLater(now time.Time, a *adAccount) {
	if a == nil || a.userID == "" {
		return
	}
	w.after(now, w.nextSync(now), func(at time.Time) { w.syncAccount(at, a) })
}

func (w *World) syncAccount(at time.Time, a *adAccount) {
	u, ok := w.people.user(a.userID)
	if !ok || u.deleted || u.enabled == a.enabled {
		return
	}
	w.people.edit(u.id, func(u *person) { u.enabled = a.enabled })
	c := &change{w: w, at: at, actor: w.syncActor()}
	c.auditUser(enabledActivity(a.enabled), u, modified("AccountEnabled", u.enabled, a.enabled))
}

// syncActor is the directory-synchronisation account.
func (w *World) syncActor() Actor {
	for _, u := range w.people.list {
		if u.kind == KindSyncAccount {
			return Actor{UserID: u.id, UserPrincipalName: u.upn, DisplayName: u.display}
		}
	}
	return Actor{DisplayName: "Microsoft Azure AD Connect"}
}

// syncAll runs a synchronisation cycle now, for every account.
func (w *World) syncAll(now time.Time) {
	for _, a := range w.ad {
		if a.userID != "" {
			w.syncAccount(now, a)
		}
	}
}

// adOf is the AD account behind a user; nil for cloud-only people.
func (w *World) adOf(u *person) *adAccount {
	if u.onPrem == nil {
		return nil
	}
	return w.ad[w.bySID[u.onPrem.sid]]
}

// identity is one row of security/identities/identityAccounts: an AD account,
// a user, or both.
type identity struct {
	id   string
	ad   int    // -1: cloud only
	user string // "": on-premises only
}

// identities is that collection. Rows are rendered when asked for.
type identities struct {
	w    *World
	list []identity
	byID map[string]int
}

func (x *identities) span() int  { return len(x.list) }
func (x *identities) count() int { return len(x.list) }
func (x *identities) at(pos int) Item {
	return x.w.renderIdentity(x.list[pos])
}
func (x *identities) find(key string) (Item, bool) {
	pos, ok := x.byID[strings.ToLower(key)]
	if !ok {
		return nil, false
	}
	return x.at(pos), true
}
func (x *identities) findBy(property, value string) (Item, bool) {
	if property != "onPremisesSecurityIdentifier" {
		return nil, false
	}
	if pos, ok := x.w.bySID[value]; ok {
		return x.find(x.w.ad[pos].identity)
	}
	return nil, false
}

// The actions that Defender for Identity offers per provider, as Microsoft's
// resource page lists them.
var (
	adActions    = []string{"disable", "enable", "forcePasswordReset"}
	entraActions = []string{"disable", "enable", "revokeAllSessions", "requireUserToSignInAgain", "markUserAsCompromised"}
	oktaActions  = []string{"disable", "enable", "revokeAllSessions"}
)

// OktaState is an account in Okta, of which Graph shows that it is there and no more.
type OktaState struct {
	ID          string
	Suspended   bool
	Revocations int
}

// ConnectOkta gives the on-premises account an account in Okta, which Defender for
// Identity then lists beside it, and returns its id.
func (w *World) ConnectOkta(sid string) (string, error) {
	w.lock()
	defer w.mu.Unlock()
	pos, ok := w.bySID[sid]
	if !ok {
		return "", errNotFound(sid)
	}
	w.ad[pos].okta = &OktaState{ID: "00u" + strings.ReplaceAll(w.newID(), "-", "")[:17]}
	return w.ad[pos].okta.ID, nil
}

// Okta returns the state of the on-premises account's account in Okta.
func (w *World) Okta(sid string) (OktaState, bool) {
	w.lock()
	defer w.mu.Unlock()
	pos, ok := w.bySID[sid]
	if !ok || w.ad[pos].okta == nil {
		return OktaState{}, false
	}
	return *w.ad[pos].okta, true
}

func (w *World) renderIdentity(x identity) Item {
	o := Object{
		"@odata.type": "#microsoft.graph.security.user", "id": x.id,
		"cloudSecurityIdentifier": nil, "onPremisesSecurityIdentifier": nil,
		"emailAddress": nil, "userPrincipalName": nil, "isEnabled": false,
	}
	var accounts []any
	account := func(id, provider string, actions []string) {
		list := make([]any, len(actions))
		for i, a := range actions {
			list[i] = a
		}
		accounts = append(accounts, Object{"identifier": id, "identityProvider": provider, "actions": list})
	}
	if x.ad >= 0 {
		a := w.ad[x.ad]
		o["displayName"], o["domain"] = a.display, a.domain
		o["onPremisesSecurityIdentifier"] = a.sid
		o["isEnabled"] = a.enabled
		account(a.guid, "activeDirectory", adActions)
		if a.okta != nil {
			account(a.okta.ID, "okta", oktaActions)
		}
	}
	if u, ok := w.people.user(x.user); ok && !u.deleted {
		o["displayName"], o["userPrincipalName"] = u.display, u.upn
		o["emailAddress"], _ = u.Value("mail")
		o["cloudSecurityIdentifier"] = cloudSID(u.id)
		if x.ad < 0 {
			o["domain"] = CloudDomain
			o["isEnabled"] = u.enabled
		}
		account(u.id, "entraID", entraActions)
	}
	o["accounts"] = slices.Clip(accounts)
	if accounts == nil {
		o["accounts"] = []any{}
	}
	return &record{x.id, o}
}

// Invocation is the body of identityAccounts/{id}/invokeAction.
type Invocation struct {
	AccountID        string `json:"accountId"`
	Action           string `json:"action"`           // disable, enable, forcePasswordReset, revokeAllSessions, requireUserToSignInAgain, markUserAsCompromised
	IdentityProvider string `json:"identityProvider"` // activeDirectory, entraID or okta
}

// InvokeAction accepts an action of Defender for Identity and returns its
// correlation id. In Active Directory it takes effect after Delays.OnPremises
// if a domain controller's sensor is up by then, and not at all otherwise:
// being accepted says nothing about the outcome. A disabled AD account reaches
// the cloud with the next synchronisation.
func (w *World) InvokeAction(a Actor, identityID string, in Invocation) (string, []Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	ids := w.tables[IdentityAccounts].(*identities)
	pos, ok := ids.byID[strings.ToLower(identityID)]
	if !ok {
		return "", nil, errNotFound(identityID)
	}
	c := &change{w: w, at: now, actor: a}
	row := ids.list[pos]
	switch {
	case strings.EqualFold(in.IdentityProvider, "activeDirectory"):
		if row.ad < 0 || !strings.EqualFold(w.ad[row.ad].guid, in.AccountID) {
			return "", nil, errBad("Account '%s' is not an activeDirectory account of identity '%s'.", in.AccountID, identityID)
		}
		if !slices.Contains(adActions, in.Action) {
			return "", nil, errBad("Action '%s' is not supported for identity provider 'activeDirectory'.", in.Action)
		}
		c.invokeAD(w.ad[row.ad], in.Action)
	case strings.EqualFold(in.IdentityProvider, "entraID"):
		if row.user == "" || !strings.EqualFold(row.user, in.AccountID) {
			return "", nil, errBad("Account '%s' is not an entraID account of identity '%s'.", in.AccountID, identityID)
		}
		if !slices.Contains(entraActions, in.Action) {
			return "", nil, errBad("Action '%s' is not supported for identity provider 'entraID'.", in.Action)
		}
		if err := c.invokeEntra(row.user, in.Action); err != nil {
			return "", nil, err
		}
	case strings.EqualFold(in.IdentityProvider, "okta") && row.ad >= 0 && w.ad[row.ad].okta != nil:
		o := w.ad[row.ad].okta
		if o.ID != in.AccountID {
			return "", nil, errBad("Account '%s' is not an okta account of identity '%s'.", in.AccountID, identityID)
		}
		if !slices.Contains(oktaActions, in.Action) {
			return "", nil, errBad("Action '%s' is not supported for identity provider 'okta'.", in.Action)
		}
		if in.Action == "revokeAllSessions" {
			c.did("okta/"+o.ID, "revocations", o.Revocations, o.Revocations+1)
			o.Revocations++
		} else if to := in.Action == "disable"; to != o.Suspended {
			c.did("okta/"+o.ID, "suspended", o.Suspended, to)
			o.Suspended = to
		}
	default:
		return "", nil, errBad("Identity provider '%s' is not connected.", in.IdentityProvider)
	}
	return w.newID(), c.effects, nil
}

func (c *change) invokeAD(a *adAccount, action string) {
	w, due := c.w, plus(c.at, c.w.delays.OnPremises)
	object := "activeDirectory/" + a.sid
	do := func(time.Time) {}
	switch action {
	case "disable", "enable":
		enabled := action == "enable"
		c.later(object, "enabled", a.enabled, enabled, due)
		do = func(at time.Time) { w.setADEnabled(at, a, enabled) }
	case "forcePasswordReset":
		c.later(object, "pwdLastSet", second(a.passwordAt), 0, due)
		do = func(time.Time) { a.passwordAt = 0 }
	}
	w.after(c.at, due, func(at time.Time) {
		if w.security.controllerUp() {
			do(at)
		}
	})
}

func (w *World) setADEnabled(at time.Time, a *adAccount, enabled bool) {
	a.enabled = enabled
	w.syncLater(at, a)
}

// invokeEntra runs with Defender's own enterprise application, which holds the
// roles it needs, so the rule on privileged people does not stop it.
func (c *change) invokeEntra(userID, action string) error {
	u, ok := c.w.people.user(userID)
	if !ok || u.deleted {
		return errNotFound(userID)
	}
	switch action {
	case "disable", "enable":
		c.setEnabled(u, action == "enable")
	case "revokeAllSessions", "requireUserToSignInAgain":
		c.revokeLater(u)
	case "markUserAsCompromised":
		c.userFeedbackLater(u, ConfirmCompromised)
	}
	return nil
}
