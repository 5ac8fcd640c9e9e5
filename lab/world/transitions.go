package world

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The transitions of the life cycle of risk carry the numbers of the table in
// Microsoft's remediation pages as the lab's documentation lists them:
//
//	T1  sign-in risk policy: second factor passed    T13 sign-in confirmed safe
//	T2  policy-driven secure password change         T14 sign-in confirmed compromised
//	T3  self-service password reset                  T15 user confirmed compromised
//	T4  passwordless: sessions revoked, signs in     T16 user confirmed safe
//	T5  as T4, attacker's device disabled            T17 Defender alert closed
//	T6  administrator resets the password            T18 system: assessed safe
//	T7  secure change asked for by administrator     T19 blocked user back in a familiar place
//	T8  on-premises change, allowed to clear risk    T20 unified risk signals raise the level
//	T9  on-premises change, not allowed (default)    T21 Microsoft acts itself
//	T10 ordinary password change                     T22 low risk ages out after six months
//	T11 user risk dismissed                          T23 medium and high risk never age out
//	T12 sign-in risk dismissed                       T24 confirm, wait, dismiss
//
// T22 and T23 are the passing of time, T24 is T15 and T11 in order; none of
// the three is an event.

// applyRemediation is T1–T10: somebody passed a control or changed a password.
func (c *change) applyRemediation(e Event) error {
	u, err := c.person(e.User)
	if err != nil {
		return err
	}
	switch e.Transition {
	case "T1":
		if !u.registered() {
			return fmt.Errorf("%s is not registered for multifactor authentication and cannot pass it", u.upn)
		}
		return c.closeSignInRisk(u, e.Of, stateRemediated, "userPassedMFADrivenByRiskBasedPolicy")
	case "T2":
		return c.secureChange(u, e)
	case "T3":
		if !u.sspr || u.guest() {
			return fmt.Errorf("%s is not registered for self-service password reset", u.upn)
		}
		c.newPassword(u, true)
		c.closeUserSoon(u, "userPerformedSecuredPasswordReset")
	case "T4", "T5":
		return c.signInAgain(u, e)
	case "T6":
		c.newPassword(u, true)
		c.w.people.edit(u.id, func(u *person) { u.force = true; u.resets++ })
		c.auditUser("Reset user password", u)
		c.closeUserSoon(u, "adminGeneratedTemporaryPassword")
	case "T7":
		if !u.registered() || u.guest() {
			return fmt.Errorf("%s is not registered for multifactor authentication: no secure change", u.upn)
		}
		c.newPassword(u, true)
		c.closeUserSoon(u, "userPerformedSecuredPasswordChange")
	case "T8":
		if !c.w.settings.OnPremisesResetClearsRisk || c.w.settings.NoPasswordHashSync {
			return fmt.Errorf("on-premises password changes do not reset user risk in this tenant")
		}
		return c.onPremisesPassword(u)
	case "T9":
		if c.w.settings.OnPremisesResetClearsRisk {
			return fmt.Errorf("on-premises password changes reset user risk in this tenant")
		}
		return c.onPremisesPassword(u)
	case "T10":
		c.newPassword(u, false)
	default:
		return fmt.Errorf("%s is not a remediation; those are T1 to T10", e.Transition)
	}
	return nil
}

// newPassword is a password set by its owner, or by the flow they went
// through; revoke ends the sessions that stood before.
func (c *change) newPassword(u *person, revoke bool) {
	c.w.people.edit(u.id, func(u *person) {
		u.passwordAt = c.at.Unix()
		u.force, u.forceMFA = false, false
		if revoke {
			u.validFrom = c.at.Unix()
		}
	})
}

// closeUserSoon ends a person's risk when the new password has been noticed.
func (c *change) closeUserSoon(u *person, detail string) {
	w, actor := c.w, c.actor
	w.after(c.at, plus(c.at, w.delays.Remediation), func(at time.Time) {
		c := &change{w: w, at: at, actor: actor}
		if r := w.risk.users[u.id]; r != nil && !r.deleted {
			c.closeUser(u.id, stateRemediated, detail)
		}
	})
}

// secureChange is T2. riskRemediation also revokes earlier sessions.
func (c *change) secureChange(u *person, e Event) error {
	switch {
	case u.guest():
		return fmt.Errorf("%s is a guest: the password belongs to the home tenant", u.upn)
	case !u.registered():
		return fmt.Errorf("%s is not registered for multifactor authentication and is blocked instead", u.upn)
	case u.passwordless:
		return fmt.Errorf("%s has no password to change; see T4", u.upn)
	case !c.w.risk.open(u.id):
		return fmt.Errorf("%s has no user risk: no policy asks for a change", u.upn)
	}
	control := cmp.Or(e.Control, "passwordChange")
	if control != "passwordChange" && control != "riskRemediation" {
		return fmt.Errorf("control %q is neither passwordChange nor riskRemediation", control)
	}
	c.newPassword(u, control == "riskRemediation")
	c.auditUser("Change password (self-service)", u)
	c.closeUserSoon(u, "userPerformedSecuredPasswordReset")
	return nil
}

// signInAgain is T4 and T5: sessions are revoked now, the risk closes with the
// next successful sign-in.
func (c *change) signInAgain(u *person, e Event) error {
	r := c.w.risk.users[u.id]
	switch {
	case r == nil || !isOpen(r.state):
		return fmt.Errorf("%s has no user risk", u.upn)
	case u.guest():
		return fmt.Errorf("%s is a guest: risk remediation is not for guests", u.upn)
	case e.Transition == "T4" && !u.passwordless:
		return fmt.Errorf("%s has a password; see T2", u.upn)
	}
	if e.Transition == "T5" {
		pos, err := c.deviceOf(u, e.Device)
		if err != nil {
			return err
		}
		c.setDevice(pos, false)
	}
	c.w.revoke(u.id, c.at)
	c.auditUser("Update StsRefreshTokenValidFrom Timestamp", u)
	r.awaitSignIn = "microsoftRevokedSessions"
	return nil
}

// deviceOf finds a device by id, or a person's newest one.
func (c *change) deviceOf(u *person, ref string) (int, error) {
	if ref != "" {
		if pos, ok := c.w.devices.byID[ref]; ok {
			return pos, nil
		}
		return 0, fmt.Errorf("no device %q", ref)
	}
	if len(u.devices) == 0 {
		return 0, fmt.Errorf("%s has no device", u.upn)
	}
	return u.devices[len(u.devices)-1], nil
}

// onPremisesPassword is T8 or T9, as the settings say.
func (c *change) onPremisesPassword(u *person) error {
	a := c.w.adOf(u)
	if a == nil {
		return fmt.Errorf("%s has no account in Active Directory", u.upn)
	}
	a.passwordAt = c.at.Unix()
	if c.w.settings.NoPasswordHashSync {
		return nil
	}
	c.newPassword(u, false)
	if c.w.settings.OnPremisesResetClearsRisk {
		c.closeUserSoon(u, "userChangedPasswordOnPremises")
	}
	return nil
}

func (c *change) applyOnPremisesPasswordChange(e Event) error {
	u, err := c.person(e.User)
	if err == nil {
		return c.onPremisesPassword(u)
	}
	a, err := c.w.resolve(e.User)
	if err != nil {
		return err
	}
	if a.SID == "" {
		return fmt.Errorf("%q has no account in Active Directory", e.User)
	}
	c.w.ad[c.w.bySID[a.SID]].passwordAt = c.at.Unix()
	return nil
}

func (c *change) applyPasswordChange(e Event) error {
	u, err := c.person(e.User)
	if err != nil {
		return err
	}
	c.newPassword(u, false)
	c.auditUser("Change password (self-service)", u)
	return nil
}

// closeSignInRisk closes the sign-in risk of a person (of one sign-in when of
// names one) and lets user risk follow. The token-theft family stays open: a
// second factor proves nothing about a stolen session.
func (c *change) closeSignInRisk(u *person, of, state, detail string) error {
	r := c.w.risk.users[u.id]
	if r == nil || r.deleted {
		return fmt.Errorf("%s has no risk", u.upn)
	}
	only := c.of(of)
	var closed, kept int
	for _, s := range r.signIns {
		if of != "" && s.id != only && !slices.ContainsFunc(s.detections, func(d *detection) bool { return d.id == only }) {
			continue
		}
		if !isOpen(s.state) {
			continue
		}
		stays := false
		for _, d := range s.detections {
			if slices.Contains(notAutoClosed, d.eventType) || d.state == stateCompromised {
				stays = true
			}
		}
		if stays {
			kept++
			continue
		}
		for _, d := range s.detections {
			if isOpen(d.state) {
				c.setDetection(d, state, detail)
			}
		}
		c.setSignIn(s, state, detail, s.aggregated)
		closed++
	}
	switch {
	case closed > 0:
		c.recalculate(r, state, detail, nil)
		return nil
	case kept > 0:
		return fmt.Errorf("the sign-in risk of %s is of the token-theft family or confirmed, which a second factor does not close", u.upn)
	}
	return fmt.Errorf("%s has no open sign-in risk", u.upn)
}

// applyFeedback is T11–T16 by a person in the portal; like the calls of Graph
// it takes effect after Delays.Feedback.
func (c *change) applyFeedback(e Event) error {
	user := map[string]Verdict{"T11": Dismiss, "T15": ConfirmCompromised, "T16": ConfirmSafe}
	signIns := map[string]Verdict{"T12": Dismiss, "T13": ConfirmSafe, "T14": ConfirmCompromised}
	if v, ok := user[e.Transition]; ok {
		u, err := c.person(e.User)
		if err != nil {
			return err
		}
		_, err = c.w.userFeedback(c.at, c.actor, v, []string{u.id})
		return err
	}
	v, ok := signIns[e.Transition]
	if !ok {
		return fmt.Errorf("%s is not feedback; that is T11 to T16", e.Transition)
	}
	id := c.of(e.Of)
	if d := c.w.risk.detections[id]; d != nil && d.signIn != nil {
		id = d.signIn.id
	}
	_, err := c.w.signInFeedback(c.at, c.actor, v, []string{id})
	return err
}

// applyCloseAlert is T17.
func (c *change) applyCloseAlert(e Event) error {
	id := c.of(e.Of)
	if d := c.w.risk.detections[id]; d != nil {
		id = d.alert
	}
	r, ok := c.w.tables[Alerts].(*table).get(id)
	if !ok {
		return fmt.Errorf("of: no alert %q", e.Of)
	}
	c.resolveAlert(r, Object{"status": "resolved"})
	return nil
}

// applySystem is what the service does itself: T18–T21.
func (c *change) applySystem(e Event) error {
	u, err := c.person(e.User)
	if err != nil {
		return err
	}
	switch e.Transition {
	case "T18":
		return c.closeSignInRisk(u, e.Of, stateDismissed, "aiConfirmedSigninSafe")
	case "T19":
		if err := c.closeSignInRisk(u, e.Of, stateDismissed, "aiConfirmedSigninSafe"); err != nil {
			return err
		}
		c.signIn(u, attempt{at: c.at})
	case "T20":
		info := map[string]string{"alertUrl": "https://security.microsoft.com/user?aad=" + u.id}
		for k, v := range e.AdditionalInfo {
			info[k] = v
		}
		c.detect(u, "aiCompoundAccountRisk", stateAtRisk, levelHigh, "aiElevatedAccountRisk", nil, Object{"additionalInfo": additionalInfo(info)})
		c.recalculate(c.w.risk.users[u.id], stateNone, "none", []string{"aiCompoundAccountRisk"})
	case "T21":
		return c.microsoftActs(u, e)
	case "T22", "T23":
		return fmt.Errorf("%s is the passing of time: move the clock", e.Transition)
	default:
		return fmt.Errorf("%s is not an act of the service; those are T18 to T21", e.Transition)
	}
	return nil
}

// microsoftActs is T21: the audit shows Microsoft as initiator. The risk
// itself is left as it is, since what becomes of it depends on the case.
func (c *change) microsoftActs(u *person, e Event) error {
	c.actor = Actor{DisplayName: "Microsoft"}
	switch cmp.Or(e.Control, "revokeSessions") {
	case "revokeSessions":
		c.w.revoke(u.id, c.at)
		c.auditUser("Update StsRefreshTokenValidFrom Timestamp", u)
	case "disableUser":
		c.setEnabled(u, false)
	case "disableDevice":
		pos, err := c.deviceOf(u, e.Device)
		if err != nil {
			return err
		}
		c.setDevice(pos, false)
	default:
		return fmt.Errorf("control %q is none of revokeSessions, disableUser, disableDevice", e.Control)
	}
	return nil
}
