package world

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Risk levels, states and details as Graph spells them.
const (
	levelNone   = "none"
	levelHidden = "hidden"
	levelLow    = "low"
	levelMedium = "medium"
	levelHigh   = "high"

	stateNone        = "none"
	stateAtRisk      = "atRisk"
	stateCompromised = "confirmedCompromised"
	stateRemediated  = "remediated"
	stateDismissed   = "dismissed"
	stateSafe        = "confirmedSafe"
)

// ageOut is how long low risk lasts untouched (T22); higher risk lasts for ever (T23).
const ageOutMonths = 6

func rank(level string) int {
	return slices.Index([]string{levelNone, levelHidden, levelLow, levelMedium, levelHigh}, level)
}

func isOpen(state string) bool { return state == stateAtRisk || state == stateCompromised }

// riskEngine is Entra ID Protection for people.
type riskEngine struct {
	users      map[string]*riskyUser
	detections map[string]*detection
	signIns    map[string]*signIn
}

// open reports whether a person has risk that is neither closed nor none.
func (e *riskEngine) open(userID string) bool {
	r := e.users[userID]
	return r != nil && isOpen(r.state)
}

// riskyUser is one row of riskyUsers; it exists from the first risk on.
type riskyUser struct {
	id, upn, display     string
	state, level, detail string
	updated              time.Time
	processing           int // feedback that is accepted and not yet processed
	deleted              bool
	detections           []*detection // all, oldest first
	signIns              []*signIn    // those that were risky
	history              []*record
	awaitSignIn          string    // riskDetail to close with at the next successful sign-in (T4, T5)
	learningUntil        time.Time // no detection that needs a learned habit before this (T16)
}

// detection is one risk detection.
type detection struct {
	id, user, eventType  string
	state, level, detail string
	activity             string
	updated              time.Time
	signIn               *signIn
	alert                string // Defender alert raised for it
	base                 Object
}

// signIn is one sign-in with its risk.
type signIn struct {
	id, user           string
	state, detail      string
	during, aggregated string
	detections         []*detection
	base               Object
}

// eventKind is what Microsoft's list says about a riskEventType: its timing,
// whether it belongs to a sign-in, and the level the lab gives when an event
// names none (Microsoft's own where it is fixed).
type eventKind struct {
	timing, activity, level, source string
}

const (
	sourceIDP  = "IdentityProtection"
	sourceMDA  = "Microsoft Defender for Cloud Apps"
	sourceMDE  = "Microsoft Defender for Endpoint"
	sourceMDO  = "Microsoft Defender for Office 365"
	sourceUnif = "Microsoft Defender XDR"
)

// eventKinds lists the documented user and sign-in detections. Others are
// accepted, since riskEventType is an open set.
var eventKinds = map[string]eventKind{
	"riskyIPAddress":                       {"offline", "signin", levelMedium, sourceMDA},
	"generic":                              {"realtime", "signin", levelHidden, sourceIDP},
	"adminConfirmedUserCompromised":        {"offline", "user", levelHigh, sourceIDP},
	"anomalousToken":                       {"offline", "signin", levelHigh, sourceIDP},
	"anonymizedIPAddress":                  {"realtime", "signin", levelMedium, sourceIDP},
	"unlikelyTravel":                       {"offline", "signin", levelMedium, sourceIDP},
	"mcasImpossibleTravel":                 {"offline", "signin", levelMedium, sourceMDA},
	"maliciousIPAddress":                   {"offline", "signin", levelMedium, sourceIDP},
	"mcasFinSuspiciousFileAccess":          {"offline", "signin", levelMedium, sourceMDA},
	"investigationsThreatIntelligence":     {"offline", "signin", levelHigh, sourceIDP},
	"newCountry":                           {"offline", "signin", levelLow, sourceMDA},
	"passwordSpray":                        {"offline", "signin", levelHigh, sourceIDP},
	"suspiciousBrowser":                    {"offline", "signin", levelMedium, sourceIDP},
	"suspiciousInboxForwarding":            {"offline", "signin", levelMedium, sourceMDA},
	"mcasSuspiciousInboxManipulationRules": {"offline", "signin", levelMedium, sourceMDA},
	"tokenIssuerAnomaly":                   {"offline", "signin", levelHigh, sourceIDP},
	"unfamiliarFeatures":                   {"realtime", "signin", levelMedium, sourceIDP},
	"nationStateIP":                        {"realtime", "signin", levelHigh, sourceIDP},
	"anomalousUserActivity":                {"offline", "user", levelMedium, sourceIDP},
	"attackerinTheMiddle":                  {"offline", "user", levelHigh, sourceUnif},
	"leakedCredentials":                    {"offline", "user", levelHigh, sourceIDP},
	"attemptedPrtAccess":                   {"offline", "user", levelHigh, sourceMDE},
	"suspiciousAPITraffic":                 {"offline", "user", levelMedium, sourceIDP},
	"suspiciousSendingPatterns":            {"offline", "user", levelMedium, sourceMDO},
	"userReportedSuspiciousActivity":       {"offline", "user", levelHigh, sourceIDP},
	"aiCompoundAccountRisk":                {"offline", "user", levelHigh, sourceUnif},
}

// notAutoClosed is the token-theft family: a second factor in the session does
// not close these.
var notAutoClosed = []string{"investigationsThreatIntelligence", "anomalousToken", "attackerinTheMiddle", "nationStateIP", "tokenIssuerAnomaly"}

// needsLearning are the detections that compare with a learned habit.
var needsLearning = []string{"unfamiliarFeatures", "unlikelyTravel"}

// risky returns the person's row, making it when there is none.
func (c *change) risky(u *person) *riskyUser {
	if r := c.w.risk.users[u.id]; r != nil {
		return r
	}
	r := &riskyUser{id: u.id, upn: u.upn, display: u.display, state: stateNone, level: levelNone, detail: "none", updated: c.at}
	c.w.risk.users[u.id] = r
	c.w.tables[RiskyUsers].(*table).add(u.id, r.object())
	return r
}

func (r *riskyUser) object() Object {
	return Object{
		"id": r.id, "isDeleted": r.deleted, "isProcessing": r.processing > 0, "riskLevel": r.level, "riskState": r.state,
		"riskDetail": r.detail, "riskLastUpdatedDateTime": stamp(r.updated), "userDisplayName": r.display,
		"userPrincipalName": r.upn,
	}
}

func (c *change) showUser(r *riskyUser) { c.w.tables[RiskyUsers].(*table).replace(r.id, r.object()) }

// setUser changes a row, writes its history and says so to the ledger. why
// lists the detections that moved it; nil for an act of somebody.
func (c *change) setUser(r *riskyUser, state, level, detail string, why []string) {
	object := "riskyUsers/" + r.id
	if r.state == state && r.level == level && r.detail == detail && why == nil {
		c.showUser(r)
		return
	}
	for _, f := range []struct{ name, before, after string }{
		{"riskState", r.state, state}, {"riskLevel", r.level, level}, {"riskDetail", r.detail, detail},
	} {
		if f.before != f.after {
			c.did(object, f.name, f.before, f.after)
		}
	}
	r.state, r.level, r.detail = state, level, detail
	r.updated = c.at
	c.showUser(r)
	types := make([]any, len(why))
	for i, t := range why {
		types[i] = t
	}
	o := r.object()
	o["id"] = c.w.newHex(64)
	o["userId"] = r.id
	o["initiatedBy"] = orNil(c.actor.by())
	o["activity"] = Object{"riskEventTypes": types, "detail": detail}
	r.history = append(r.history, &record{o["id"].(string), o})
}

// recalculate derives the person's risk from what is still open; closing says
// how it ends when nothing is.
func (c *change) recalculate(r *riskyUser, closeState, closeDetail string, why []string) {
	level, confirmed, unified := levelNone, false, false
	for _, d := range r.detections {
		if !isOpen(d.state) {
			continue
		}
		if rank(d.level) > rank(level) {
			level = d.level
		}
		if d.state == stateCompromised && d.eventType != "adminConfirmedUserCompromised" {
			confirmed, level = true, levelHigh
		}
		unified = unified || d.eventType == "aiCompoundAccountRisk"
	}
	switch {
	case level == levelNone:
		c.setUser(r, closeState, levelNone, closeDetail, why)
	case r.state == stateCompromised:
		c.setUser(r, stateCompromised, levelHigh, r.detail, why)
	case confirmed:
		c.setUser(r, stateAtRisk, levelHigh, "adminConfirmedSigninCompromised", why)
	case unified:
		c.setUser(r, stateAtRisk, level, "aiElevatedAccountRisk", why)
	default:
		c.setUser(r, stateAtRisk, level, "none", why)
	}
}

// closeUser ends all risk of a person: the row, its detections and sign-ins.
func (c *change) closeUser(userID, state, detail string) {
	r := c.w.risk.users[userID]
	if r == nil || !isOpen(r.state) {
		return
	}
	for _, d := range r.detections {
		if isOpen(d.state) {
			c.setDetection(d, state, detail)
		}
	}
	for _, s := range r.signIns {
		if isOpen(s.state) {
			agg := s.aggregated
			if state == stateSafe {
				agg = levelNone
			}
			c.setSignIn(s, state, detail, agg)
		}
	}
	r.awaitSignIn = ""
	c.setUser(r, state, levelNone, detail, nil)
}

func (c *change) setDetection(d *detection, state, detail string) {
	object := "riskDetections/" + d.id
	if d.state != state {
		c.did(object, "riskState", d.state, state)
	}
	d.state, d.detail, d.updated = state, detail, c.at
	c.w.tables[RiskDetections].(*table).replace(d.id, d.object())
}

func (d *detection) object() Object {
	o := make(Object, len(d.base)+5)
	for k, v := range d.base {
		o[k] = v
	}
	o["riskState"], o["riskLevel"], o["riskDetail"] = d.state, d.level, d.detail
	o["lastUpdatedDateTime"] = stamp(d.updated)
	return o
}

// detect adds a detection to a person. s is the sign-in it belongs to; nil for
// user risk.
func (c *change) detect(u *person, eventType, state, level, detail string, s *signIn, more Object) *detection {
	w := c.w
	r := c.risky(u)
	d := &detection{
		id: w.newHex(64), user: u.id, eventType: eventType, state: state, level: level, detail: detail,
		activity: "user", updated: c.at, signIn: s,
	}
	kind := eventKinds[eventType]
	d.base = Object{
		"id": d.id, "requestId": nil, "correlationId": nil, "riskEventType": eventType,
		"source": cmp.Or(kind.source, sourceIDP), "detectionTimingType": cmp.Or(kind.timing, "offline"),
		"activity": "user", "tokenIssuerType": "AzureAD", "ipAddress": nil, "location": nil,
		"activityDateTime": stamp(c.at), "detectedDateTime": stamp(c.at), "userId": u.id,
		"userDisplayName": u.display, "userPrincipalName": u.upn, "additionalInfo": "[]",
	}
	if s != nil {
		d.activity = "signin"
		d.base["activity"] = "signin"
		d.base["requestId"], d.base["correlationId"] = s.id, s.base["correlationId"]
		d.base["ipAddress"], d.base["location"] = s.base["ipAddress"], s.base["location"]
		d.base["activityDateTime"] = s.base["createdDateTime"]
	}
	for k, v := range more {
		d.base[k] = v
	}
	w.risk.detections[d.id] = d
	r.detections = append(r.detections, d)
	w.tables[RiskDetections].(*table).add(d.id, d.object())
	c.did("riskDetections/"+d.id, "riskEventType", nil, eventType)
	if s != nil {
		c.signInRisk(r, s, d)
	}
	c.age(d)
	return d
}

// age lets low risk end by itself after six months without a change (T22). The
// detection keeps its row, at state and level none.
func (c *change) age(d *detection) {
	if d.level != levelLow || !isOpen(d.state) {
		return
	}
	w, seen := c.w, d.updated
	w.after(c.at, c.at.AddDate(0, ageOutMonths, 0), func(at time.Time) {
		if !isOpen(d.state) || d.level != levelLow || !d.updated.Equal(seen) {
			return
		}
		r := w.risk.users[d.user]
		if r.level != levelLow {
			return
		}
		c := &change{w: w, at: at}
		d.level = levelNone
		c.setDetection(d, stateNone, "none")
		if d.signIn != nil {
			c.setSignIn(d.signIn, stateNone, "none", levelNone)
		}
		c.recalculate(r, stateNone, "none", []string{})
	})
}

// additionalInfo renders pairs the way the service does: a string holding a
// JSON array of Key and Value, sorted by key here.
func additionalInfo(pairs map[string]string) string {
	type pair struct {
		Key   string
		Value any
	}
	list := []pair{}
	for k, v := range pairs {
		var value any = v
		if v == "" {
			value = nil
		}
		// riskReasons and mitreTechniques hold lists; the former is an array on the wire.
		if k == "riskReasons" {
			parts := strings.Split(v, ",")
			for i := range parts {
				parts[i] = strings.TrimSpace(parts[i])
			}
			value = parts
		}
		list = append(list, pair{k, value})
	}
	slices.SortFunc(list, func(a, b pair) int { return strings.Compare(a.Key, b.Key) })
	b, err := json.Marshal(list)
	if err != nil { // strings and lists of strings always marshal
		return "[]"
	}
	return string(b)
}
