package world

import (
	"cmp"
	"time"
)

// Sign-in error codes, as Microsoft's list of AADSTS codes has them.
const (
	codeDisabled = 50057
	codeRevoked  = 50173
	codeExpired  = 50055
)

var signInReasons = map[int]string{
	0:            "",
	codeDisabled: "User account is disabled. The account has been disabled by an administrator.",
	codeRevoked:  "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
	codeExpired:  "The password is expired.",
	50126:        "Invalid username or password or Invalid on-premise username or password.",
	50053:        "The account is locked, you've tried to sign in too many times with an incorrect user ID or password.",
	50074:        "Strong Authentication is required.",
	50076:        "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access the resource.",
	500121:       "Authentication failed during strong authentication request.",
	53003:        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
}

// The kinds of sign-ins. v1.0 of Graph lists interactive ones only.
const (
	SignInInteractive      = "interactiveUser"
	SignInNonInteractive   = "nonInteractiveUser"
	SignInServicePrincipal = "servicePrincipal"
	SignInManagedIdentity  = "managedIdentity"
)

// attempt is a sign-in before it is judged.
type attempt struct {
	at        time.Time
	ip, agent string
	app       string
	location  *Location
	errorCode int
	tokenAge  time.Duration // >0: an existing session is used
	risky     bool          // belongs to a detection: judged when it happened, not now
	kind      string        // signInEventType; interactive if empty
}

// signIn records a sign-in. An account that is disabled now, a session older
// than the last revocation, and a password that must be changed are refused
// whatever the event says.
func (c *change) signIn(u *person, a attempt) *signIn {
	w := c.w
	code := a.errorCode
	switch {
	case a.risky:
	case !u.enabled:
		code = codeDisabled
	case a.tokenAge > 0 && a.at.Add(-a.tokenAge).Unix() < u.validFrom:
		code = codeRevoked
	case a.tokenAge == 0 && code == 0 && (u.force || u.forceMFA):
		code = codeExpired
	}
	var reason any = signInReasons[code]
	if reason == "" {
		reason = nil
		if code != 0 {
			reason = "Other."
		}
	}
	access := "success"
	if code == 53003 {
		access = "failure"
	}
	s := &signIn{id: w.newID(), user: u.id, state: stateNone, detail: "none", during: levelNone, aggregated: levelNone}
	app := cmp.Or(a.app, "Office 365 Exchange Online")
	kind := cmp.Or(a.kind, SignInInteractive)
	s.base = Object{
		"id": s.id, "createdDateTime": stamp(a.at), "userDisplayName": u.display, "userPrincipalName": u.upn, "userId": u.id,
		"appId": appIDOf(app), "appDisplayName": app, "resourceDisplayName": "Microsoft Graph",
		"resourceId": "00000003-0000-0000-c000-000000000000", "ipAddress": cmp.Or(a.ip, w.officeIP(u)),
		"clientAppUsed": "Browser", "correlationId": w.newID(), "conditionalAccessStatus": access,
		"isInteractive": kind == SignInInteractive, "signInEventTypes": []any{kind},
		"userAgent": orNil(a.agent),
		"status":    Object{"errorCode": code, "failureReason": reason, "additionalDetails": nil},
		"deviceDetail": Object{"deviceId": "", "displayName": nil, "operatingSystem": "Windows 10", "browser": "Edge 140.0.0",
			"isCompliant": nil, "isManaged": nil, "trustType": nil},
		"location":                         a.location.object(),
		"appliedConditionalAccessPolicies": []any{},
		"homeTenantId":                     w.tenant, "resourceTenantId": w.tenant,
	}
	w.risk.signIns[s.id] = s
	w.tables[SignIns].(*table).add(s.id, s.object())
	c.did("signIns/"+s.id, "status/errorCode", nil, code)
	if r := w.risk.users[u.id]; code == 0 && !a.risky && r != nil && r.awaitSignIn != "" {
		c.closeUser(u.id, stateRemediated, r.awaitSignIn)
	}
	return s
}

// applyWorkloadSignIn records that an application signed in, or was refused when it
// is disabled.
func (c *change) applyWorkloadSignIn(e Event) error {
	w := c.w
	sp, err := c.servicePrincipal(e.ServicePrincipal)
	if err != nil {
		return err
	}
	code := e.ErrorCode
	if sp.obj["accountEnabled"] == false {
		code = 7000112 // Microsoft: AADSTS7000112, the application is disabled
	}
	var reason any
	if code != 0 {
		reason = "Other."
	}
	s := &signIn{id: w.newID(), state: stateNone, detail: "none", during: levelNone, aggregated: levelNone}
	s.base = Object{
		"id": s.id, "createdDateTime": stamp(c.at), "userDisplayName": nil, "userPrincipalName": nil, "userId": "",
		"servicePrincipalId": sp.id, "servicePrincipalName": sp.obj["displayName"], "appId": sp.obj["appId"], "appDisplayName": sp.obj["displayName"],
		"resourceDisplayName": "Microsoft Graph", "resourceId": "00000003-0000-0000-c000-000000000000",
		"ipAddress": cmp.Or(e.IPAddress, "203.0.113.200"), "clientAppUsed": "", "correlationId": w.newID(), "conditionalAccessStatus": "notApplied",
		"isInteractive": false, "signInEventTypes": []any{e.SignInEventType}, "userAgent": orNil(e.UserAgent),
		"status":       Object{"errorCode": code, "failureReason": reason, "additionalDetails": nil},
		"deviceDetail": nil, "location": e.Location.object(), "appliedConditionalAccessPolicies": []any{},
		"homeTenantId": w.tenant, "resourceTenantId": w.tenant,
	}
	w.risk.signIns[s.id] = s
	w.tables[SignIns].(*table).add(s.id, s.object())
	c.did("signIns/"+s.id, "status/errorCode", nil, code)
	c.named(e.Name, s.id)
	return nil
}

// appIDOf gives the well-known client ids of Microsoft's own applications.
func appIDOf(name string) string {
	switch name {
	case "Office 365 Exchange Online":
		return "00000002-0000-0ff1-ce00-000000000000"
	case "Azure Portal":
		return "c44b4083-3bb0-49c1-b47d-974e53cbdf3c"
	case "Microsoft Teams":
		return "1fec8e78-bce4-4aaf-ab1b-5451cc387264"
	}
	return "89bee1f7-5e6e-4d8a-9f3d-ecd601259da7" // Office365 Shell WCSS-Client
}

// officeIP is a person's usual address, from a range reserved for documents.
func (w *World) officeIP(u *person) string {
	return "203.0.113." + itoa(10+u.pos%40)
}

func itoa(n int) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

func (l *Location) object() Object {
	if l == nil {
		return Object{"city": "Hamburg", "state": "Hamburg", "countryOrRegion": "DE",
			"geoCoordinates": Object{"altitude": nil, "latitude": 53.5511, "longitude": 9.9937}}
	}
	o := Object{"city": orNil(l.City), "state": orNil(l.State), "countryOrRegion": orNil(l.CountryOrRegion), "geoCoordinates": nil}
	if l.Latitude != nil && l.Longitude != nil {
		o["geoCoordinates"] = Object{"altitude": nil, "latitude": *l.Latitude, "longitude": *l.Longitude}
	}
	return o
}

// oldRiskEventTypes are the members of the closed enumeration that the
// deprecated property riskEventTypes can hold.
var oldRiskEventTypes = map[string]bool{
	"unlikelyTravel": true, "anonymizedIPAddress": true, "maliciousIPAddress": true, "unfamiliarFeatures": true,
	"malwareInfectedIPAddress": true, "suspiciousIPAddress": true, "leakedCredentials": true,
	"investigationsThreatIntelligence": true, "generic": true, "adminConfirmedUserCompromised": true,
	"mcasImpossibleTravel": true, "mcasSuspiciousInboxManipulationRules": true,
}

func (s *signIn) object() Object {
	o := make(Object, len(s.base)+6)
	for k, v := range s.base {
		o[k] = v
	}
	old, all := []any{}, []any{}
	for _, d := range s.detections {
		all = append(all, d.eventType)
		if oldRiskEventTypes[d.eventType] {
			old = append(old, d.eventType)
		}
	}
	o["riskState"], o["riskDetail"] = s.state, s.detail
	o["riskLevelDuringSignIn"], o["riskLevelAggregated"] = s.during, s.aggregated
	o["riskEventTypes"], o["riskEventTypes_v2"] = old, all
	return o
}

// signInRisk ties a detection to its sign-in.
func (c *change) signInRisk(r *riskyUser, s *signIn, d *detection) {
	if len(s.detections) == 0 {
		r.signIns = append(r.signIns, s)
	}
	s.detections = append(s.detections, d)
	if d.base["detectionTimingType"] == "realtime" && rank(d.level) > rank(s.during) {
		s.during = d.level
	}
	agg := s.aggregated
	if rank(d.level) > rank(agg) {
		agg = d.level
	}
	c.setSignIn(s, d.state, d.detail, agg)
}

func (c *change) setSignIn(s *signIn, state, detail, aggregated string) {
	if s.state != state {
		c.did("signIns/"+s.id, "riskState", s.state, state)
	}
	s.state, s.detail, s.aggregated = state, detail, aggregated
	c.w.tables[SignIns].(*table).replace(s.id, s.object())
}
