package world

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// security is Microsoft Defender: alerts, incidents and the sensors of
// Defender for Identity.
type security struct {
	w         *World
	nextAlert int
	nextCase  int
	incidents map[string]string   // Event.Incident → incident id
	alertsIn  map[string][]string // incident id → alert ids
	detection map[string]string   // alert id → risk detection id
}

// alertKind is what Microsoft's lists say about an alert title: detector,
// severity, category and techniques.
type alertKind struct {
	detector, severity, category string
	techniques                   []string
}

var alertKinds = map[string]alertKind{
	"Suspected DCSync attack (replication of directory services)": {"2006", "high", "CredentialAccess", []string{"T1003.006"}},
	"Possible Kerberoasting attack":                               {"xdr_PossibleKerberoastingAttack", "high", "CredentialAccess", []string{"T1558.003"}},
	"AS-REP roasting":                                             {"xdr_AsrepRoastingAttack", "high", "CredentialAccess", []string{"T1558.004"}},
	"Possible golden ticket attack":                               {"xdr_PossibleGoldenTicketAttacks", "high", "CredentialAccess", []string{"T1558.001"}},
	"Honeytoken Activity":                                         {"xdr_HoneytokenSignInAttempt", "high", "CredentialAccess", []string{"T1098"}},
	"Possible use of a stolen session cookie":                     {"xdr_BrowserSessionCookieTheft", "high", "CredentialAccess", []string{"T1557", "T1539", "T1598"}},
	"Suspected password spray attack (Kerberos, NTLM)":            {"xdr_OnPremPasswordSpray", "medium", "CredentialAccess", []string{"T1110.003"}},
	"Suspected brute-force attack (Kerberos, NTLM)":               {"xdr_OnPremBruteforce", "medium", "CredentialAccess", []string{"T1110.001"}},
	"Suspected pass-the-ticket attack":                            {"xdr_PassTheTicketAttack", "medium", "LateralMovement", []string{"T1550"}},
	"Shadow credentials added to account":                         {"xdr_ShadowCredentialsAttack", "high", "Persistence", []string{"T1098"}},
	"Suspicious on-prem account enablement after disruption":      {"xdr_SuspiciousAccountEnabled", "high", "CredentialAccess", []string{"T1098"}},
	"Possible service principal account secret leak":              {"xdr_CredentialStuffingToolObserved", "medium", "CredentialAccess", []string{"T1078"}},
	"Possibly compromised service principal account signed in":    {"xdr_CredentialStuffingToolObserved", "high", "CredentialAccess", []string{"T1078"}},
	"Account Enumeration reconnaissance (LDAP)":                   {"2437", "medium", "Discovery", []string{"T1087.002"}},
	"User and Group membership reconnaissance (SAMR)":             {"2021", "medium", "Discovery", []string{"T1087.002", "T1069.002"}},
}

// accountEvidence is one account in an alert.
type accountEvidence struct {
	account Account
	role    string
}

// raise makes an alert and its incident, and returns the alert's id.
func (c *change) raise(e Event, accounts []accountEvidence, detectionID string) string {
	w, s := c.w, &c.w.security
	kind := alertKinds[e.Title]
	severity := cmp.Or(e.Severity, kind.severity, "medium")
	techniques := e.Techniques
	if techniques == nil {
		techniques = kind.techniques
	}
	source := cmp.Or(e.ServiceSource, "microsoftDefenderForIdentity")
	s.nextAlert++
	id := fmt.Sprintf("%s%s_%d", map[bool]string{true: "aa", false: "ad"}[source == "microsoftDefenderForIdentity"], w.newID(), s.nextAlert)
	incident := c.incidentFor(e, severity)
	evidence := []any{}
	for _, a := range accounts {
		evidence = append(evidence, w.userEvidence(a, stamp(c.at)))
	}
	evidence = append(evidence, w.hostEvidence(e, accounts, stamp(c.at))...)
	tech := make([]any, len(techniques))
	for i, t := range techniques {
		tech[i] = t
	}
	first := c.at.Add(-max(0, timeOf(e.Ago)))
	category := cmp.Or(e.Category, kind.category, "SuspiciousActivity")
	w.tables[Alerts].(*table).add(id, Object{
		"@odata.type": "#microsoft.graph.security.alert", "id": id, "providerAlertId": id[2:], "incidentId": incident,
		"status": "new", "severity": severity, "classification": nil, "determination": nil,
		"serviceSource": source, "detectionSource": detectionSource(source), "productName": productName(source),
		"detectorId": cmp.Or(e.DetectorID, kind.detector, "xdr_Unknown"), "tenantId": w.tenant,
		"title": e.Title, "description": cmp.Or(e.Description, e.Title+"."), "recommendedActions": "", "category": category,
		"categories": []any{category}, "assignedTo": nil, "actorDisplayName": nil, "threatDisplayName": nil,
		"threatFamilyName": nil, "mitreTechniques": tech, "createdDateTime": stamp(c.at), "lastUpdateDateTime": stamp(c.at),
		"resolvedDateTime": nil, "firstActivityDateTime": stamp(first), "lastActivityDateTime": stamp(c.at),
		"alertWebUrl":    "https://security.microsoft.com/alerts/" + id + "?tid=" + w.tenant,
		"incidentWebUrl": "https://security.microsoft.com/incidents/" + incident + "?tid=" + w.tenant,
		"comments":       []any{}, "evidence": evidence, "systemTags": []any{}, "investigationState": "unsupportedAlertType",
		"alertPolicyId": nil,
	})
	s.alertsIn[incident] = append(s.alertsIn[incident], id)
	if detectionID != "" {
		s.detection[id] = detectionID
	}
	c.did("alerts_v2/"+id, "status", nil, "new")
	return id
}

func detectionSource(service string) string {
	if service == "microsoft365Defender" {
		return "microsoft365Defender"
	}
	return service
}

func productName(service string) string {
	switch service {
	case "microsoftDefenderForIdentity":
		return "Microsoft Defender for Identity"
	case "azureAdIdentityProtection":
		return "Microsoft Entra ID Protection"
	}
	return "Microsoft Defender XDR"
}

// incidentFor finds the incident an alert belongs to, or opens one.
func (c *change) incidentFor(e Event, severity string) string {
	w, s := c.w, &c.w.security
	t := w.tables[Incidents].(*table)
	if id := s.incidents[e.Incident]; e.Incident != "" && id != "" {
		t.edit(id, Object{"lastUpdateDateTime": stamp(c.at)})
		return id
	}
	s.nextCase++
	id := itoa(40000 + s.nextCase)
	t.add(id, Object{
		"@odata.type": "#microsoft.graph.security.incident", "id": id, "tenantId": w.tenant, "displayName": e.Title,
		"status": "active", "severity": severity, "classification": nil, "determination": nil, "assignedTo": nil,
		"createdDateTime": stamp(c.at), "lastUpdateDateTime": stamp(c.at), "redirectIncidentId": nil,
		"incidentWebUrl": "https://security.microsoft.com/incidents/" + id + "?tid=" + w.tenant, "comments": []any{},
		"customTags": []any{}, "systemTags": []any{}, "description": nil, "summary": nil, "resolvingComment": nil,
		"lastModifiedBy": "Microsoft 365 Defender-AlertCorrelation", "priorityScore": nil,
	})
	if e.Incident != "" {
		s.incidents[e.Incident] = id
	}
	return id
}

func evidenceBase(kind, role, at string) Object {
	return Object{
		"@odata.type": "#microsoft.graph.security." + kind, "createdDateTime": at, "verdict": "suspicious",
		"remediationStatus": "none", "remediationStatusDetails": nil, "roles": []any{role}, "detailedRoles": []any{}, "tags": []any{},
	}
}

// userEvidence names an account the way Defender does: azureAdUserId is null
// for an account that exists only on premises, the SID and objectGUID are null
// for one that exists only in the cloud.
func (w *World) userEvidence(a accountEvidence, at string) Object {
	o := evidenceBase("userEvidence", a.role, at)
	name, domain := a.account.SAMAccountName, NTDomain
	if name == "" {
		name, domain, _ = strings.Cut(a.account.UserPrincipalName, "@")
	}
	var guid any
	if a.account.ObjectGUID != "" {
		guid = a.account.ObjectGUID
	}
	o["stream"] = nil
	o["userAccount"] = Object{
		"accountName": orNil(name), "domainName": orNil(domain), "userSid": orNil(a.account.SID),
		"azureAdUserId": orNil(a.account.UserID), "userPrincipalName": orNil(a.account.UserPrincipalName),
		"displayName": orNil(a.account.DisplayName), "activeDirectoryObjectGuid": guid, "tenantId": w.tenant,
		"resourceAccessEvents": []any{},
	}
	return o
}

// hostEvidence adds the devices, the address and, for accounts of Active
// Directory, the domain.
func (w *World) hostEvidence(e Event, accounts []accountEvidence, at string) []any {
	var list []any
	device := func(name, role string) {
		if name == "" {
			return
		}
		host, _, _ := strings.Cut(name, ".")
		o := evidenceBase("deviceEvidence", role, at)
		maps.Copy(o, Object{
			"azureAdDeviceId": nil, "mdeDeviceId": nil, "deviceDnsName": strings.ToLower(host) + "." + ADDomain, "hostName": host,
			"ntDomain": NTDomain, "dnsDomain": ADDomain, "osPlatform": "Windows11", "osBuild": 26100, "version": "24H2",
			"healthStatus": "active", "riskScore": "none", "rbacGroupId": 0, "rbacGroupName": nil, "onboardingStatus": "onboarded",
			"defenderAvStatus": "updated", "firstSeenDateTime": stamp(w.start.AddDate(-1, 0, 0)), "ipInterfaces": []any{},
			"lastIpAddress": orNil(e.IPAddress), "lastExternalIpAddress": nil, "loggedOnUsers": []any{}, "vmMetadata": nil,
			"resourceAccessEvents": []any{},
		})
		list = append(list, o)
	}
	device(e.Device, "source")
	device(e.Destination, "destination")
	if e.IPAddress != "" {
		o := evidenceBase("ipEvidence", "source", at)
		o["ipAddress"], o["countryLetterCode"], o["location"], o["stream"] = e.IPAddress, nil, nil, nil
		if e.Location != nil {
			o["countryLetterCode"] = orNil(e.Location.CountryOrRegion)
		}
		list = append(list, o)
	}
	if slices.ContainsFunc(accounts, func(a accountEvidence) bool { return a.account.SID != "" }) {
		o := evidenceBase("activeDirectoryDomainEvidence", "contextual", at)
		o["activeDirectoryDomainName"], o["trustedDomains"] = ADDomain, []any{}
		list = append(list, o)
	}
	return list
}

// The values that alerts and incidents accept in a PATCH.
var (
	classifications = []string{"unknown", "falsePositive", "truePositive", "informationalExpectedActivity"}
	determinations  = []string{"unknown", "apt", "malware", "securityPersonnel", "securityTesting", "unwantedSoftware", "other",
		"multiStagedAttack", "compromisedAccount", "phishing", "maliciousUserActivity", "notMalicious", "notEnoughDataToValidate",
		"confirmedActivity", "lineOfBusinessApplication"}
	alertStatuses    = []string{"new", "inProgress", "resolved"}
	incidentStatuses = []string{"active", "inProgress", "resolved"}
	healthStatuses   = []string{"open", "closed", "suppressed"}
)

// readPatch checks enumerations and texts of a PATCH.
func readPatch(patch Object, enums map[string][]string, texts ...string) (Object, error) {
	set := Object{}
	for name, v := range patch {
		if strings.HasPrefix(name, "@") {
			continue
		}
		s, isText := v.(string)
		switch values := enums[name]; {
		case values != nil:
			if !slices.Contains(values, s) {
				return nil, errBad("Invalid value '%v' specified for property '%s'.", v, name)
			}
		case slices.Contains(texts, name):
			if !isText && v != nil {
				return nil, errBad("Invalid value specified for property '%s'.", name)
			}
		case name == "customTags":
			if _, ok := v.([]any); !ok {
				return nil, errBad("Invalid value specified for property '%s'.", name)
			}
		default:
			return nil, errBad("Property '%s' cannot be set.", name)
		}
		set[name] = v
	}
	return set, nil
}

// put applies a checked PATCH to a record and notes the effects.
func (c *change) put(col Collection, r *record, set Object) {
	for _, name := range slices.Sorted(maps.Keys(set)) {
		c.did(string(col)+"/"+r.id, name, r.obj[name], set[name])
	}
	c.w.tables[col].(*table).edit(r.id, set)
}

func (c *change) patchAlert(id string, patch Object) error {
	r, ok := c.w.tables[Alerts].(*table).get(id)
	if !ok {
		return refuse(404, "NotFound", "Alert '%s' was not found.", id)
	}
	set, err := readPatch(patch, map[string][]string{"status": alertStatuses, "classification": classifications, "determination": determinations}, "assignedTo")
	if err != nil {
		return err
	}
	c.resolveAlert(r, set)
	return nil
}

// resolveAlert applies a change to an alert; resolving the alert of a risk
// detection dismisses that detection (T17).
func (c *change) resolveAlert(r *record, set Object) {
	set["lastUpdateDateTime"] = stamp(c.at)
	if set["status"] == "resolved" && r.obj["status"] != "resolved" {
		set["resolvedDateTime"] = stamp(c.at)
		if d := c.w.risk.detections[c.w.security.detection[r.id]]; d != nil && isOpen(d.state) && !c.w.risk.users[d.user].deleted {
			c.setDetection(d, stateDismissed, "m365DAdminDismissedDetection")
			c.recalculate(c.w.risk.users[d.user], stateDismissed, "m365DAdminDismissedDetection", nil)
		}
	}
	c.put(Alerts, r, set)
}

func (c *change) patchIncident(id string, patch Object) error {
	r, ok := c.w.tables[Incidents].(*table).get(id)
	if !ok {
		return refuse(404, "NotFound", "Incident '%s' was not found.", id)
	}
	set, err := readPatch(patch, map[string][]string{"status": incidentStatuses, "classification": classifications, "determination": determinations},
		"assignedTo", "summary", "resolvingComment")
	if err != nil {
		return err
	}
	set["lastUpdateDateTime"] = stamp(c.at)
	set["lastModifiedBy"] = cmp.Or(c.actor.UserPrincipalName, c.actor.DisplayName)
	c.put(Incidents, r, set)
	if set["status"] == "resolved" {
		for _, alert := range c.w.security.alertsIn[id] {
			if a, _ := c.w.tables[Alerts].(*table).get(alert); a.obj["status"] != "resolved" {
				c.resolveAlert(a, Object{"status": "resolved"})
			}
		}
	}
	return nil
}

// Comment adds a comment to an alert or incident and returns all its comments.
func (w *World) Comment(a Actor, c Collection, id, text string) ([]any, []Effect, error) {
	now := w.lock()
	defer w.mu.Unlock()
	if c != Alerts && c != Incidents {
		return nil, nil, errBad("Resource '%s' has no comments.", c)
	}
	t := w.tables[c].(*table)
	r, ok := t.get(id)
	if !ok {
		return nil, nil, refuse(404, "NotFound", "'%s' was not found.", id)
	}
	old := r.obj["comments"].([]any)
	list := append(slices.Clone(old), Object{
		"@odata.type": "#microsoft.graph.security.alertComment", "comment": text,
		"createdByDisplayName": cmp.Or(a.UserPrincipalName, a.DisplayName), "createdDateTime": stamp(now),
	})
	t.edit(r.id, Object{"comments": list, "lastUpdateDateTime": stamp(now)})
	ch := &change{w: w, at: now, actor: a}
	ch.did(string(c)+"/"+r.id, "comments", len(old), len(list))
	return list, ch.effects, nil
}

func (c *change) patchHealthIssue(id string, patch Object) error {
	r, ok := c.w.tables[HealthIssues].(*table).get(id)
	if !ok {
		return errNotFound(id)
	}
	set, err := readPatch(patch, map[string][]string{"status": healthStatuses})
	if err != nil {
		return err
	}
	set["lastModifiedDateTime"] = stamp(c.at)
	c.put(HealthIssues, r, set)
	return nil
}

// controllerUp reports whether a domain controller's sensor can act.
func (s *security) controllerUp() bool {
	return slices.ContainsFunc(s.w.tables[Sensors].(*table).list, func(r *record) bool {
		return r.obj["sensorType"] == "domainControllerIntegrated" && r.obj["serviceStatus"] == "running"
	})
}

// setSensor takes a sensor up or down, with the health issue that tells so.
func (c *change) setSensor(r *record, up bool) {
	w := c.w
	issues := w.tables[HealthIssues].(*table)
	name := r.obj["displayName"].(string)
	dns := strings.ToLower(name) + "." + ADDomain
	if up {
		for _, i := range issues.list {
			if i.obj["status"] == "open" && slices.Contains(i.obj["sensorDNSNames"].([]any), any(dns)) {
				issues.edit(i.id, Object{"status": "closed", "lastModifiedDateTime": stamp(c.at)})
			}
		}
		c.put(Sensors, r, Object{"serviceStatus": "running", "deploymentStatus": "upToDate", "healthStatus": "healthy", "openHealthIssuesCount": 0})
		return
	}
	id := w.newID()
	issues.add(id, Object{
		"@odata.type": "#microsoft.graph.security.healthIssue", "id": id, "displayName": "Sensor stopped communicating",
		"description": "There has not been communication from the sensor on " + dns + ".", "healthIssueType": "sensor",
		"issueTypeId": "1004", "severity": "high", "status": "open", "createdDateTime": stamp(c.at), "lastModifiedDateTime": stamp(c.at),
		"domainNames": []any{ADDomain}, "sensorDNSNames": []any{dns}, "additionalInformation": []any{},
		"recommendations": []any{"Check the network between the sensor and the service."}, "recommendedActionCommands": []any{},
	})
	c.put(Sensors, r, Object{"serviceStatus": "stopped", "deploymentStatus": "disconnected", "healthStatus": "notHealthyHigh", "openHealthIssuesCount": 1})
}

func (w *World) ofSecurity(c Collection, it Item, relation string) ([]Item, bool) {
	switch {
	case c == Sensors && relation == SensorHealthIssues:
		name, _ := it.Value("displayName")
		dns := strings.ToLower(name.(string)) + "." + ADDomain
		var out []Item
		for _, r := range w.tables[HealthIssues].(*table).list {
			if slices.Contains(r.obj["sensorDNSNames"].([]any), any(dns)) {
				out = append(out, r)
			}
		}
		return out, true
	case c == Incidents && relation == IncidentAlerts:
		var out []Item
		for _, id := range w.security.alertsIn[it.ID()] {
			if a, ok := w.tables[Alerts].(*table).get(id); ok {
				out = append(out, a)
			}
		}
		return out, true
	}
	return nil, false
}
