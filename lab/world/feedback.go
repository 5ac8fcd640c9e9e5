package world

import (
	"slices"
	"strings"
	"time"
)

// Verdict is a kind of feedback on risk.
type Verdict string

// The verdicts, named as the last segment of the action's path.
const (
	ConfirmCompromised Verdict = "confirmCompromised"
	ConfirmSafe        Verdict = "confirmSafe"
	Dismiss            Verdict = "dismiss"
)

// MaxFeedback is the largest number of ids in one call.
const MaxFeedback = 60

// checkIDs refuses empty, overlong and malformed lists and drops repeats.
func checkIDs(name string, ids []string) ([]string, error) {
	if len(ids) == 0 {
		return nil, refuse(400, "BadRequest", "The %s collection cannot be empty.", name)
	}
	if len(ids) > MaxFeedback {
		return nil, refuse(400, "BadRequest", "The %s collection can contain at most %d items, got %d.", name, MaxFeedback, len(ids))
	}
	var out []string
	for _, id := range ids {
		if !isGUID(id) {
			return nil, refuse(400, "BadRequest", "'%s' in %s is not a valid GUID.", id, name)
		}
		if id = strings.ToLower(id); !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out, nil
}

// UserFeedback is POST /identityProtection/riskyUsers/{verdict}: T15, T16 and
// T11. At most 60 ids. The rows show isProcessing at once and change after
// Delays.Feedback. Confirming a person who was never at risk lists them at
// once. A deleted, unknown or external person in the list makes the whole call
// fail.
// Dismissing or clearing a person without open risk is accepted and does
// nothing (not documented; decided here).
func (w *World) UserFeedback(a Actor, v Verdict, userIDs []string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	return w.userFeedback(now, a, v, userIDs)
}

func (w *World) userFeedback(now time.Time, a Actor, v Verdict, userIDs []string) ([]Effect, error) {
	ids, err := checkIDs("userIds", userIDs)
	if err != nil {
		return nil, err
	}
	var users []*person
	for _, id := range ids {
		u, ok := w.people.user(id)
		if !ok || u.deleted {
			return nil, refuse(404, "ResourceNotFound", "User '%s' does not exist in the tenant or has been deleted.", id)
		}
		if u.guest() {
			return nil, refuse(404, "ResourceNotFound", "User '%s' is external: their risk belongs to the home tenant.", id)
		}
		users = append(users, u)
	}
	c := &change{w: w, at: now, actor: a}
	for _, u := range users {
		c.userFeedbackLater(u, v)
	}
	return c.effects, nil
}

// userFeedbackLater accepts a verdict on one person.
func (c *change) userFeedbackLater(u *person, v Verdict) {
	w := c.w
	if v != ConfirmCompromised && !w.risk.open(u.id) {
		if r := w.risk.users[u.id]; r == nil || r.processing == 0 {
			return
		}
	}
	r := c.risky(u)
	r.processing++
	c.showUser(r)
	object, due := "riskyUsers/"+u.id, plus(c.at, w.delays.Feedback)
	c.did(object, "isProcessing", r.processing > 1, true)
	after := map[Verdict]string{ConfirmCompromised: stateCompromised, ConfirmSafe: stateSafe, Dismiss: stateDismissed}[v]
	c.later(object, "riskState", r.state, after, due)
	actor := c.actor
	w.after(c.at, due, func(at time.Time) {
		c := &change{w: w, at: at, actor: actor}
		r.processing--
		if !r.deleted {
			c.userVerdict(r, v)
		}
		c.showUser(r)
	})
}

// userVerdict is the processed feedback.
func (c *change) userVerdict(r *riskyUser, v Verdict) {
	switch v {
	case ConfirmCompromised:
		u, _ := c.w.people.user(r.id)
		c.detect(u, "adminConfirmedUserCompromised", stateCompromised, levelHigh, "adminConfirmedUserCompromised", nil, nil)
		c.setUser(r, stateCompromised, levelHigh, "adminConfirmedUserCompromised", nil)
		c.auditRisk("ConfirmCompromised", r)
	case Dismiss:
		if isOpen(r.state) {
			c.closeUser(r.id, stateDismissed, "adminDismissedAllRiskForUser")
			c.auditRisk("DismissUser", r)
		}
	case ConfirmSafe:
		if isOpen(r.state) {
			c.closeUser(r.id, stateSafe, "adminConfirmedAccountSafe")
			r.learningUntil = c.at.AddDate(0, 0, 5)
			c.auditRisk("ConfirmAccountSafe", r)
		}
	}
}

func (c *change) auditRisk(activity string, r *riskyUser) {
	c.audit("Other", activity, "Update", Object{"id": r.id, "displayName": r.display, "userPrincipalName": r.upn, "type": "User"}, nil)
}

// SignInFeedback is POST /auditLogs/signIns/{verdict}: T14, T13 and T12. The
// risk changes after Delays.Feedback. Ids that are unknown or not risky are
// refused; so is confirmSafe for a sign-in of a person whose risk was
// dismissed already.
func (w *World) SignInFeedback(a Actor, v Verdict, requestIDs []string) ([]Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	return w.signInFeedback(now, a, v, requestIDs)
}

func (w *World) signInFeedback(now time.Time, a Actor, v Verdict, requestIDs []string) ([]Effect, error) {
	ids, err := checkIDs("requestIds", requestIDs)
	if err != nil {
		return nil, err
	}
	var list []*signIn
	for _, id := range ids {
		s := w.risk.signIns[id]
		if s == nil || s.state == stateNone {
			return nil, refuse(400, "BadRequest", "These requestIds do not exist in your tenant or they are not risky: %s", id)
		}
		if v == ConfirmSafe && s.state == stateDismissed {
			return nil, refuse(400, "BadRequest", "The risk of the user of requestId %s has been dismissed already.", id)
		}
		list = append(list, s)
	}
	c := &change{w: w, at: now, actor: a}
	due := plus(now, w.delays.Feedback)
	for _, s := range list {
		after := map[Verdict]string{ConfirmCompromised: stateCompromised, ConfirmSafe: stateSafe, Dismiss: stateDismissed}[v]
		c.later("signIns/"+s.id, "riskState", s.state, after, due)
		r := w.risk.users[s.user]
		r.processing++
		c.showUser(r)
		w.after(now, due, func(at time.Time) {
			c := &change{w: w, at: at, actor: a}
			r.processing--
			if !r.deleted {
				c.signInVerdict(r, s, v)
			}
			c.showUser(r)
		})
	}
	return c.effects, nil
}

// signInVerdict is the processed feedback on one sign-in.
func (c *change) signInVerdict(r *riskyUser, s *signIn, v Verdict) {
	state, detail, aggregated := stateDismissed, "adminDismissedRiskForSignIn", s.aggregated
	switch v {
	case ConfirmCompromised:
		state, detail, aggregated = stateCompromised, "adminConfirmedSigninCompromised", levelHigh
	case ConfirmSafe:
		state, detail, aggregated = stateSafe, "adminConfirmedSigninSafe", levelNone
	}
	if v != ConfirmCompromised && !isOpen(s.state) {
		return
	}
	for _, d := range s.detections {
		if v == ConfirmCompromised && d.level == levelNone { // it aged out while this was on its way
			d.level = levelHigh
		}
		if v == ConfirmCompromised || isOpen(d.state) {
			c.setDetection(d, state, detail)
		}
	}
	c.setSignIn(s, state, detail, aggregated)
	switch {
	case r.state == stateCompromised && v != ConfirmCompromised:
		// A confirmed person stays confirmed: only their own verdict or a new password ends it.
	case v == ConfirmCompromised && r.state != stateCompromised:
		c.setUser(r, stateAtRisk, levelHigh, detail, nil)
	default:
		c.recalculate(r, state, detail, nil)
	}
}
