package world

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

func timeOf(d Duration) time.Duration { return time.Duration(d) }

// eventRule says which fields a type of event takes and what it does.
type eventRule struct {
	fields []string // besides type; "!" marks a required one
	do     func(c *change, e Event) error
}

// eventRules is a function, not a variable, since the rules refer back to it.
func eventRules() map[string]eventRule {
	return map[string]eventRule{
		EventDetection: {words("user users name !riskEventType riskLevel activity timing source additionalInfo ago raiseAlert ip location userAgent app of incident"),
			each((*change).mayDetect, (*change).applyDetection)},
		EventRecalculate: {words("!of !riskLevel"), (*change).applyRecalculate},
		EventRiskyUser:   {words("!user !riskState riskLevel riskDetail by"), (*change).applyRiskyUser},
		EventSignIn:      {words("user users servicePrincipal name ip location userAgent app errorCode tokenAge signInEventType"), (*change).applySignIns},
		EventRemediation: {words("!user !transition of control device by"), (*change).applyRemediation},
		EventFeedback:    {words("!transition user of by"), (*change).applyFeedback},
		EventCloseAlert:  {words("!of by transition"), (*change).applyCloseAlert},
		EventSystem:      {words("!user !transition control device additionalInfo of"), (*change).applySystem},
		EventAlert: {words("!title user users servicePrincipal name severity category detectorId description mitreTechniques serviceSource role device destination incident ip location ago"),
			(*change).applyAlert},
		EventAudit: {words("!activityDisplayName user servicePrincipal category by permission"), (*change).applyAudit},
		EventServicePrincipalDetection: {words("!servicePrincipal !riskEventType name riskLevel keyIds additionalInfo ago ip location"),
			(*change).applyWorkloadDetection},
		EventAddCredential:            {words("!servicePrincipal by title"), (*change).applyAddCredential},
		EventAgentDetection:           {words("!title of riskLevel name"), (*change).applyAgentDetection},
		EventAddMethod:                {words("!user !title"), (*change).applyAddMethod},
		EventInboxRule:                {words("!user !title !description"), (*change).applyInboxRule},
		EventSyncCycle:                {nil, (*change).applySyncCycle},
		EventOnPremisesChange:         {words("!user !accountEnabled"), (*change).applyOnPremisesChange},
		EventPasswordChange:           {words("!user"), (*change).applyPasswordChange},
		EventOnPremisesPasswordChange: {words("!user"), (*change).applyOnPremisesPasswordChange},
		EventDeleteUser:               {words("!user by"), (*change).applyDeleteUser},
		EventSensor:                   {words("!sensor !status"), (*change).applySensor},
	}
}

// EventTypes lists the types of events, sorted.
func EventTypes() []string { return slices.Sorted(maps.Keys(eventRules())) }

func words(s string) []string { return strings.Fields(s) }

// DecodeEvent reads one JSON event; unknown keys, trailing data and an event
// that Check refuses are errors.
func DecodeEvent(b []byte) (Event, error) {
	var e Event
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return Event{}, fmt.Errorf("event: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return Event{}, fmt.Errorf("event: more than one JSON value")
	}
	return e, e.Check()
}

// Check reports all mistakes that can be seen without a tenant: an unknown
// type, a missing field, a field that does not belong to the type, a word
// outside its list.
func (e Event) Check() error {
	rule, ok := eventRules()[e.Type]
	if !ok {
		return fmt.Errorf("event: unknown type %q; the types are %s", e.Type, strings.Join(EventTypes(), ", "))
	}
	var bad []string
	v := reflect.ValueOf(e)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		set := !v.Field(i).IsZero()
		switch {
		case name == "type":
		case slices.Contains(rule.fields, "!"+name):
			if !set {
				bad = append(bad, name+" is missing")
			}
		case set && !slices.Contains(rule.fields, name):
			bad = append(bad, name+" does not belong here")
		}
	}
	oneOf := func(name, value string, list ...string) {
		if value != "" && !slices.Contains(list, value) {
			bad = append(bad, fmt.Sprintf("%s %q is none of %s", name, value, strings.Join(list, ", ")))
		}
	}
	oneOf("riskLevel", e.RiskLevel, levelNone, levelHidden, levelLow, levelMedium, levelHigh)
	oneOf("riskState", e.RiskState, stateNone, stateAtRisk, stateCompromised, stateRemediated, stateDismissed, stateSafe)
	oneOf("activity", e.Activity, "signin", "user")
	oneOf("timing", e.Timing, "notDefined", "realtime", "nearRealtime", "offline")
	oneOf("signInEventType", e.SignInEventType, SignInInteractive, SignInNonInteractive, SignInServicePrincipal, SignInManagedIdentity)
	oneOf("severity", e.Severity, "informational", "low", "medium", "high")
	oneOf("transition", e.Transition, transitionNames()...)
	if e.Type == EventSensor {
		oneOf("status", e.Status, "up", "down")
	}
	if e.Ago < 0 || e.TokenAge < 0 {
		bad = append(bad, "a duration is negative")
	}
	if bad != nil {
		return fmt.Errorf("event %s: %s", e.Type, strings.Join(bad, "; "))
	}
	return nil
}

func transitionNames() []string {
	var list []string
	for i := 1; i <= 24; i++ {
		list = append(list, "T"+itoa(i))
	}
	return list
}

// Apply makes the event happen now. An event that cannot be (an unknown
// person, a transition whose prerequisites are not met) is an error and
// changes nothing.
func (w *World) Apply(e Event) error {
	if err := e.Check(); err != nil {
		return err
	}
	now := w.lock()
	defer w.mu.Unlock()
	return w.apply(now, e)
}

func (w *World) apply(at time.Time, e Event) error {
	c := &change{w: w, at: at}
	if e.By != "" {
		a, err := w.resolve(e.By)
		if err != nil {
			return fmt.Errorf("event %s: by: %w", e.Type, err)
		}
		c.actor = Actor{UserID: a.UserID, UserPrincipalName: a.UserPrincipalName, DisplayName: a.DisplayName,
			AppID: a.AppID, ServicePrincipalID: a.ServicePrincipalID}
	}
	if err := eventRules()[e.Type].do(c, e); err != nil {
		return fmt.Errorf("event %s: %w", e.Type, err)
	}
	return nil
}

// Schedule makes the event happen at an instant of the world's clock; at once
// when that has passed. Names of fields and values are checked now, people and
// prerequisites when it happens. What went wrong then is listed by Failures.
func (w *World) Schedule(at time.Time, e Event) error {
	if err := e.Check(); err != nil {
		return err
	}
	now := w.lock()
	defer w.mu.Unlock()
	if !at.After(now) {
		return w.apply(now, e)
	}
	w.after(now, at, func(at time.Time) {
		if err := w.apply(at, e); err != nil {
			w.failures = append(w.failures, fmt.Errorf("at %s: %w", stamp(at), err))
		}
	})
	return nil
}

// Failures lists scheduled events that could not happen.
func (w *World) Failures() []error {
	w.rlock()
	defer w.mu.RUnlock()
	return slices.Clone(w.failures)
}

// each runs do once for every person the event names, after may has agreed for
// all of them.
func each(may, do func(c *change, u *person, e Event) error) func(*change, Event) error {
	return func(c *change, e Event) error {
		refs := e.Users
		if e.User != "" {
			refs = append([]string{e.User}, refs...)
		}
		if len(refs) == 0 {
			return fmt.Errorf("user is missing")
		}
		if e.Name != "" && len(refs) > 1 {
			return fmt.Errorf("name needs exactly one user")
		}
		var people []*person
		for _, ref := range refs {
			u, err := c.person(ref)
			if err != nil {
				return err
			}
			if may != nil {
				if err := may(c, u, e); err != nil {
					return err
				}
			}
			people = append(people, u)
		}
		for _, u := range people {
			if err := do(c, u, e); err != nil {
				return err
			}
		}
		return nil
	}
}

// person finds a living person by any reference.
func (c *change) person(ref string) (*person, error) {
	a, err := c.w.resolve(ref)
	if err != nil {
		return nil, err
	}
	u, ok := c.w.people.user(a.UserID)
	if a.UserID == "" || !ok {
		return nil, fmt.Errorf("%q is not a person of the cloud directory", ref)
	}
	if u.deleted {
		return nil, fmt.Errorf("%q has been deleted", ref)
	}
	return u, nil
}

// named remembers what an event made.
func (c *change) named(name, id string) {
	if name != "" {
		c.w.names[name] = id
	}
}

// of turns a Name or id into an id.
func (c *change) of(ref string) string { return cmp.Or(c.w.names[ref], ref) }

// mayDetect says whether Microsoft would raise the detection: nothing that
// needs a habit while a person is in learning mode, no leaked credentials of a
// synchronised account without password hash synchronisation, and no user risk
// of a guest, which belongs to the home tenant.
func (c *change) mayDetect(u *person, e Event) error {
	if r := c.w.risk.users[u.id]; r != nil && c.at.Before(r.learningUntil) && slices.Contains(needsLearning, e.RiskEventType) {
		return fmt.Errorf("%s is in learning mode until %s: no %s is raised", u.upn, stamp(r.learningUntil), e.RiskEventType)
	}
	if e.RiskEventType == "leakedCredentials" && u.onPrem != nil && c.w.settings.NoPasswordHashSync {
		return fmt.Errorf("%s is synchronised without its password hash: leaked credentials are not found", u.upn)
	}
	if u.guest() && cmp.Or(e.Activity, eventKinds[e.RiskEventType].activity, "user") == "user" {
		return fmt.Errorf("%s is a guest: user risk belongs to the home tenant", u.upn)
	}
	if e.RiskLevel == levelNone {
		return fmt.Errorf("a detection has a level")
	}
	if e.Of != "" {
		if s := c.w.risk.signIns[c.of(e.Of)]; s == nil || s.user != u.id {
			return fmt.Errorf("of: no sign-in %q of %s", e.Of, u.upn)
		}
	}
	return nil
}

// applyDetection adds a detection, with its own sign-in for sign-in risk
// unless Of names one.
func (c *change) applyDetection(u *person, e Event) error {
	w := c.w
	kind, known := eventKinds[e.RiskEventType]
	activity := cmp.Or(e.Activity, kind.activity, "user")
	level := cmp.Or(e.RiskLevel, kind.level, levelMedium)
	var s *signIn
	if activity == "signin" {
		if s = w.risk.signIns[c.of(e.Of)]; s == nil {
			s = c.signIn(u, attempt{at: c.at.Add(-timeOf(e.Ago)), ip: e.IPAddress, agent: e.UserAgent, app: e.App, location: e.Location, risky: true})
		}
	}
	more := Object{"activityDateTime": stamp(c.at.Add(-timeOf(e.Ago)))}
	if e.Timing != "" {
		more["detectionTimingType"] = e.Timing
	}
	if e.Source != "" {
		more["source"] = e.Source
	}
	if s == nil && e.IPAddress != "" {
		more["ipAddress"] = e.IPAddress
	}
	if s == nil && e.Location != nil {
		more["location"] = e.Location.object()
	}
	info := maps.Clone(e.AdditionalInfo)
	if e.UserAgent != "" {
		if info == nil {
			info = map[string]string{}
		}
		info["userAgent"] = e.UserAgent
	}
	more["additionalInfo"] = additionalInfo(info)
	if !known && e.Timing == "" {
		more["detectionTimingType"] = "notDefined"
	}
	d := c.detect(u, e.RiskEventType, stateAtRisk, level, "none", s, more)
	c.recalculate(w.risk.users[u.id], stateNone, "none", []string{e.RiskEventType})
	if e.RaiseAlert {
		e.Title, e.ServiceSource = cmp.Or(e.Title, alertTitle(e.RiskEventType)), "azureAdIdentityProtection"
		e.Severity = map[string]string{levelHigh: "high", levelMedium: "medium"}[level]
		e.Severity = cmp.Or(e.Severity, "low")
		d.alert = c.raise(e, []accountEvidence{{w.account(u), "compromised"}}, d.id)
	}
	c.named(e.Name, d.id)
	return nil
}

// alertTitle is Defender's title of the alert for a detection.
func alertTitle(eventType string) string {
	switch eventType {
	case "leakedCredentials":
		return "Leaked credentials"
	case "anomalousToken":
		return "Anomalous Token"
	case "passwordSpray":
		return "Password Spray"
	case "unfamiliarFeatures":
		return "Unfamiliar sign-in properties"
	case "unlikelyTravel":
		return "Atypical travel"
	case "anonymizedIPAddress":
		return "Anonymous IP address"
	}
	return eventType
}

func (c *change) applyRecalculate(e Event) error {
	d := c.w.risk.detections[c.of(e.Of)]
	if d == nil {
		return fmt.Errorf("of: no detection %q", e.Of)
	}
	r := c.w.risk.users[d.user]
	if !isOpen(d.state) || r.deleted {
		return fmt.Errorf("the detection is %s: its level no longer moves", d.state)
	}
	if e.RiskLevel == levelNone {
		return fmt.Errorf("a detection is closed by a transition, not by its level")
	}
	d.level = e.RiskLevel
	c.setDetection(d, d.state, d.detail)
	if d.signIn != nil {
		c.setSignIn(d.signIn, d.signIn.state, d.signIn.detail, e.RiskLevel)
	}
	c.age(d)
	c.recalculate(r, stateNone, "none", []string{d.eventType})
	return nil
}

// applyRiskyUser sets a person's risk outright. To stay lawful, closing it
// closes the detections too, opening it without any adds a generic one (the
// administrator's own when it is confirmed), and no detection stays above the
// person's level.
func (c *change) applyRiskyUser(e Event) error {
	u, err := c.person(e.User)
	if err != nil {
		return err
	}
	level := e.RiskLevel
	if isOpen(e.RiskState) {
		level = cmp.Or(level, levelHigh)
	}
	level = cmp.Or(level, levelNone)
	if isOpen(e.RiskState) == (level == levelNone) {
		return fmt.Errorf("state %s cannot have level %s", e.RiskState, level)
	}
	if e.RiskState == stateCompromised && level != levelHigh {
		return fmt.Errorf("state %s has level high", e.RiskState)
	}
	detail := cmp.Or(e.RiskDetail, "none")
	r := c.risky(u)
	if !isOpen(e.RiskState) {
		c.closeUser(u.id, e.RiskState, detail)
		if r.state != e.RiskState {
			c.setUser(r, e.RiskState, level, detail, nil)
		}
		return nil
	}
	open := false
	for _, d := range r.detections {
		if open = open || isOpen(d.state); isOpen(d.state) && rank(d.level) > rank(level) {
			d.level = level
			c.setDetection(d, d.state, d.detail)
		}
	}
	switch {
	case e.RiskState == stateCompromised:
		c.detect(u, "adminConfirmedUserCompromised", stateCompromised, levelHigh, detail, nil, nil)
	case !open:
		c.detect(u, "generic", stateAtRisk, level, "none", nil, nil)
	}
	c.setUser(r, e.RiskState, level, detail, []string{})
	return nil
}

func (c *change) applySignIns(e Event) error {
	if e.SignInEventType == SignInServicePrincipal || e.SignInEventType == SignInManagedIdentity {
		return c.applyWorkloadSignIn(e)
	}
	return each(nil, (*change).applySignIn)(c, e)
}

func (c *change) applySignIn(u *person, e Event) error {
	s := c.signIn(u, attempt{at: c.at, ip: e.IPAddress, agent: e.UserAgent, app: e.App, location: e.Location,
		errorCode: e.ErrorCode, tokenAge: timeOf(e.TokenAge), kind: e.SignInEventType})
	c.named(e.Name, s.id)
	return nil
}

func (c *change) applyAlert(e Event) error {
	role := cmp.Or(e.Role, "source")
	var accounts []accountEvidence
	refs := e.Users
	if e.User != "" {
		refs = append([]string{e.User}, refs...)
	}
	for i, ref := range refs {
		a, err := c.w.resolve(ref)
		if err != nil {
			return err
		}
		if i > 0 || e.User == "" {
			role = cmp.Or(e.Role, "attacked")
		}
		accounts = append(accounts, accountEvidence{a, role})
	}
	c.named(e.Name, c.raise(e, accounts, ""))
	return nil
}

func (c *change) applyAudit(e Event) error {
	target := Object{"id": nil, "displayName": nil, "userPrincipalName": nil, "type": "Other"}
	switch {
	case e.User != "":
		u, err := c.person(e.User)
		if err != nil {
			return err
		}
		target = Object{"id": u.id, "displayName": u.display, "userPrincipalName": u.upn, "type": "User"}
	case e.ServicePrincipal != "":
		sp, err := c.servicePrincipal(e.ServicePrincipal)
		if err != nil {
			return err
		}
		target = Object{"id": sp.id, "displayName": sp.obj["displayName"], "userPrincipalName": nil, "type": "ServicePrincipal"}
	}
	var properties []Object
	if e.Permission != "" {
		properties = append(properties, modified("ConsentAction.Permissions", nil, e.Permission))
	}
	c.audit(cmp.Or(e.Category, "Other"), e.ActivityDisplayName, "Update", target, properties)
	return nil
}

func (c *change) servicePrincipal(ref string) (*record, error) {
	a, err := c.w.resolve(ref)
	if err != nil {
		return nil, err
	}
	sp, ok := c.w.tables[ServicePrincipals].(*table).get(a.ServicePrincipalID)
	if !ok {
		return nil, fmt.Errorf("%q is not a service principal", ref)
	}
	return sp, nil
}

func (c *change) applyWorkloadDetection(e Event) error {
	sp, err := c.servicePrincipal(e.ServicePrincipal)
	if err != nil {
		return err
	}
	level := cmp.Or(e.RiskLevel, eventKindsWorkload[e.RiskEventType], levelMedium)
	if level == levelNone {
		return fmt.Errorf("a detection has a level")
	}
	var keys []any
	for _, k := range e.KeyIDs {
		if k == "any" {
			if k = c.firstKey(sp); k == "" {
				return fmt.Errorf("%s has no credential", sp.obj["displayName"])
			}
		}
		keys = append(keys, k)
	}
	more := Object{"additionalInfo": additionalInfo(e.AdditionalInfo), "activityDateTime": stamp(c.at.Add(-timeOf(e.Ago))), "ipAddress": orNil(e.IPAddress)}
	if e.Location != nil {
		more["location"] = e.Location.object()
	}
	id := c.detectWorkload(sp, e.RiskEventType, stateAtRisk, level, keys, more)
	r := c.w.sps.risky[sp.id]
	state, detail := stateAtRisk, "none"
	if r.state == stateCompromised {
		state, detail = r.state, r.detail
	}
	if rank(r.level) > rank(level) {
		level = r.level
	}
	c.setWorkload(r, state, level, detail, []any{e.RiskEventType})
	c.named(e.Name, id)
	return nil
}

// firstKey is the id of a credential of the service principal or of its application.
func (c *change) firstKey(sp *record) string {
	lists := []any{sp.obj["passwordCredentials"], sp.obj["keyCredentials"]}
	if app, ok := c.w.tables[Applications].findBy("appId", sp.obj["appId"].(string)); ok {
		p, _ := app.Value("passwordCredentials")
		k, _ := app.Value("keyCredentials")
		lists = append(lists, p, k)
	}
	for _, l := range lists {
		for _, v := range l.([]any) {
			o, _ := v.(Object)
			if id, _ := o["keyId"].(string); id != "" {
				return id
			}
		}
	}
	return ""
}

func (c *change) applySyncCycle(Event) error {
	c.w.syncAll(c.at)
	return nil
}

func (c *change) applyOnPremisesChange(e Event) error {
	a, err := c.w.resolve(e.User)
	if err != nil {
		return err
	}
	pos, ok := c.w.bySID[a.SID]
	if a.SID == "" || !ok {
		return fmt.Errorf("%q has no account in Active Directory", e.User)
	}
	c.w.setADEnabled(c.at, c.w.ad[pos], *e.AccountEnabled)
	return nil
}

func (c *change) applyDeleteUser(e Event) error {
	u, err := c.person(e.User)
	if err != nil {
		return err
	}
	c.deleteUser(u)
	return nil
}

func (c *change) applySensor(e Event) error {
	for _, r := range c.w.tables[Sensors].(*table).list {
		if strings.EqualFold(r.obj["displayName"].(string), e.Sensor) {
			c.setSensor(r, e.Status == "up")
			return nil
		}
	}
	return fmt.Errorf("no sensor %q", e.Sensor)
}
