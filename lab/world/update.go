package world

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"time"
	"unicode"
)

// Update applies a PATCH to one member of users, groups, devices,
// servicePrincipals, applications, security/alerts_v2, security/incidents or
// security/identities/healthIssues. It checks names and types of the
// properties and, for users, MayChange; nothing is applied unless all of it
// can be. A password sets lastPasswordChangeDateTime, revokes sessions and,
// after Delays.Remediation, remediates user risk (T6).
//
// A synchronised person's accountEnabled and password change in the cloud
// only: the next synchronisation puts accountEnabled back to what Active
// Directory says, and the AD password stays what it was, since PATCH is not
// written back.
func (w *World) Update(a Actor, c Collection, id string, patch Object) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	ch := &change{w: w, at: now, actor: a}
	if len(patch) == 0 {
		return nil, errBad("Write requests are only supported on contained entities with at least one property.")
	}
	var err error
	switch c {
	case Users:
		err = ch.patchUser(id, patch)
	case Devices:
		err = ch.patchDevice(id, patch)
	case ServicePrincipals, Applications:
		err = ch.patchWorkload(c, id, patch)
	case Alerts:
		err = ch.patchAlert(id, patch)
	case Incidents:
		err = ch.patchIncident(id, patch)
	case HealthIssues:
		err = ch.patchHealthIssue(id, patch)
	case ConditionalAccessPolicies, NamedLocations:
		err = ch.patchPolicy(c, id, patch)
	default:
		err = refuse(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
	}
	if err != nil {
		return nil, err
	}
	return ch.effects, nil
}

// userPatch is a checked PATCH of a user.
type userPatch struct {
	enabled  *bool
	password *string
	force    *bool
	forceMFA *bool
	text     map[string]string // jobTitle, department, officeLocation, mobilePhone; "" for null
}

func (c *change) patchUser(key string, patch Object) error {
	u, ok := c.w.people.user(key)
	if !ok || u.deleted {
		return errNotFound(key)
	}
	p, err := readUserPatch(u, patch)
	if err != nil {
		return err
	}
	if p.enabled != nil {
		if err := c.w.mayChange(c.actor, u, SetAccountEnabled); err != nil {
			return err
		}
	}
	if p.password != nil || p.force != nil || p.forceMFA != nil {
		if err := c.w.mayChange(c.actor, u, SetPassword); err != nil {
			return err
		}
	}
	if _, ok := p.text["mobilePhone"]; ok {
		if err := c.w.mayChange(c.actor, u, SetIdentity); err != nil {
			return err
		}
	}
	if p.enabled != nil {
		c.setEnabled(u, *p.enabled)
	}
	if p.password != nil {
		c.setPassword(u, *p.password)
	}
	c.setForce(u, p.force, p.forceMFA)
	c.setText(u, p.text)
	return nil
}

func readUserPatch(u *person, patch Object) (userPatch, error) {
	var p userPatch
	for name, v := range patch {
		switch name {
		case "accountEnabled":
			b, ok := v.(bool)
			if !ok {
				return p, errBad("Invalid value specified for property 'accountEnabled' of resource 'User'.")
			}
			p.enabled = &b
		case "passwordProfile":
			if err := p.readPassword(v); err != nil {
				return p, err
			}
		case "jobTitle", "department", "officeLocation", "mobilePhone":
			s, ok := v.(string)
			if !ok && v != nil {
				return p, errBad("Invalid value specified for property '%s' of resource 'User'.", name)
			}
			if u.onPrem != nil {
				return p, errBad("Unable to update the specified properties for on-premises mastered Directory Sync objects or objects currently undergoing migration.")
			}
			if p.text == nil {
				p.text = map[string]string{}
			}
			p.text[name] = s
		default:
			if strings.HasPrefix(name, "@") {
				continue
			}
			if _, known := u.Value(name); known {
				return p, errBad("Property '%s' is read-only and cannot be set.", name)
			}
			return p, errBad("Property '%s' does not exist on type 'microsoft.graph.user'.", name)
		}
	}
	return p, nil
}

func (p *userPatch) readPassword(v any) error {
	profile, ok := v.(map[string]any)
	if !ok {
		return errBad("Invalid value specified for property 'passwordProfile' of resource 'User'.")
	}
	for name, v := range profile {
		switch name {
		case "password":
			s, ok := v.(string)
			if !ok || !complexEnough(s) {
				return errBad("The specified password does not comply with password complexity requirements. Please provide a different password.")
			}
			p.password = &s
		case "forceChangePasswordNextSignIn", "forceChangePasswordNextSignInWithMfa":
			b, ok := v.(bool)
			if !ok {
				return errBad("Invalid value specified for property '%s' of resource 'PasswordProfile'.", name)
			}
			if name == "forceChangePasswordNextSignIn" {
				p.force = &b
			} else {
				p.forceMFA = &b
			}
		default:
			if !strings.HasPrefix(name, "@") {
				return errBad("Property '%s' does not exist on type 'microsoft.graph.passwordProfile'.", name)
			}
		}
	}
	return nil
}

// complexEnough is Entra's password rule: 8 to 256 characters, three of lower
// case, upper case, digit and symbol.
func complexEnough(s string) bool {
	if n := len([]rune(s)); n < 8 || n > 256 {
		return false
	}
	var lower, upper, digit, other int
	for _, r := range s {
		switch {
		case unicode.IsLower(r):
			lower = 1
		case unicode.IsUpper(r):
			upper = 1
		case unicode.IsDigit(r):
			digit = 1
		default:
			other = 1
		}
	}
	return lower+upper+digit+other >= 3
}

// setEnabled changes the cloud account. When that disagrees with Active
// Directory, the next synchronisation will undo it.
func (c *change) setEnabled(u *person, enabled bool) {
	object := "users/" + u.id
	c.did(object, "accountEnabled", u.enabled, enabled)
	if u.enabled == enabled {
		return
	}
	c.w.people.edit(u.id, func(u *person) { u.enabled = enabled })
	c.auditUser(enabledActivity(enabled), u, modified("AccountEnabled", u.enabled, enabled))
	if a := c.w.adOf(u); a != nil && a.enabled != enabled {
		c.w.syncLater(c.at, a)
	}
}

// passwordBook counts passwords without keeping them: salted digests only.
type passwordBook struct {
	all    map[[32]byte]struct{}
	byUser map[string]map[[32]byte]struct{}
	resets int
}

func (w *World) notePassword(userID, password string) {
	mac := hmac.New(sha256.New, w.salt[:])
	mac.Write([]byte(password))
	digest := [32]byte(mac.Sum(nil))
	b := &w.passwords
	if b.all == nil {
		b.all, b.byUser = map[[32]byte]struct{}{}, map[string]map[[32]byte]struct{}{}
	}
	if b.byUser[userID] == nil {
		b.byUser[userID] = map[[32]byte]struct{}{}
	}
	b.all[digest] = struct{}{}
	b.byUser[userID][digest] = struct{}{}
	b.resets++
}

// DistinctPasswords counts the different values set by resets over all people,
// and the resets: fewer values than resets means that one was used twice.
func (w *World) DistinctPasswords() (values, resets int) {
	w.rlock()
	defer w.mu.RUnlock()
	return len(w.passwords.all), w.passwords.resets
}

func (c *change) setPassword(u *person, password string) {
	object := "users/" + u.id
	c.w.notePassword(u.id, password)
	now := c.at.Unix()
	c.did(object, "passwordProfile", u.resets, u.resets+1)
	c.did(object, "lastPasswordChangeDateTime", second(u.passwordAt), second(now))
	c.did(object, "signInSessionsValidFromDateTime", second(u.validFrom), second(now))
	c.w.people.edit(u.id, func(u *person) {
		u.resets++
		u.passwordAt, u.validFrom = now, now
	})
	c.auditUser("Reset user password", u)
	if c.w.risk.open(u.id) {
		due := plus(c.at, c.w.delays.Remediation)
		c.later("riskyUsers/"+u.id, "riskState", c.w.risk.users[u.id].state, "remediated", due)
		actor := c.actor
		c.w.after(c.at, due, func(at time.Time) {
			c := &change{w: c.w, at: at, actor: actor}
			c.closeUser(u.id, "remediated", "adminGeneratedTemporaryPassword")
		})
	}
}

func (c *change) setForce(u *person, force, forceMFA *bool) {
	if force == nil && forceMFA == nil {
		return
	}
	c.w.people.edit(u.id, func(u *person) {
		if force != nil {
			c.did("users/"+u.id, "forceChangePasswordNextSignIn", u.force, *force)
			u.force = *force
		}
		if forceMFA != nil {
			c.did("users/"+u.id, "forceChangePasswordNextSignInWithMfa", u.forceMFA, *forceMFA)
			u.forceMFA = *forceMFA
		}
	})
}

func (c *change) setText(u *person, text map[string]string) {
	if len(text) == 0 {
		return
	}
	c.w.people.edit(u.id, func(u *person) {
		for name, v := range text {
			field := map[string]*string{"jobTitle": &u.job, "department": &u.dept, "officeLocation": &u.office, "mobilePhone": &u.mobile}[name]
			c.did("users/"+u.id, name, orNil(*field), orNil(v))
			*field = v
		}
	})
	c.auditUser("Update user", u)
}

// RevokeSignInSessions moves signInSessionsValidFromDateTime to the instant at
// which it takes effect (Delays.Revocation later), in whole seconds. Guests
// are accepted without effect: their tokens come from their home tenant.
func (w *World) RevokeSignInSessions(a Actor, userID string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	u, ok := w.people.user(userID)
	if !ok || u.deleted {
		return nil, errNotFound(userID)
	}
	if err := w.mayChange(a, u, RevokeSessions); err != nil {
		return nil, err
	}
	c := &change{w: w, at: now, actor: a}
	c.revokeLater(u)
	return c.effects, nil
}

func (c *change) revokeLater(u *person) {
	if u.guest() {
		return
	}
	due := plus(c.at, c.w.delays.Revocation)
	c.later("users/"+u.id, "signInSessionsValidFromDateTime", second(u.validFrom), second(due.Unix()), due)
	c.auditUser("Update StsRefreshTokenValidFrom Timestamp", u,
		modified("StsRefreshTokensValidFrom", second(u.validFrom), second(due.Unix())))
	w := c.w
	w.after(c.at, due, func(at time.Time) { w.revoke(u.id, at) })
}

func (w *World) revoke(userID string, at time.Time) {
	u, ok := w.people.user(userID)
	if !ok || u.deleted {
		return
	}
	w.people.edit(userID, func(u *person) {
		u.validFrom = max(u.validFrom, at.Unix())
		u.revocations++
	})
}
