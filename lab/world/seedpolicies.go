package world

// policies adds Conditional Access as Microsoft recommends it against risk,
// with the emergency accounts left out, and the named locations.
func (s *seeder) policies() {
	grant := func(operator string, controls ...any) Object {
		return Object{"operator": operator, "builtInControls": controls, "customAuthenticationFactors": []any{}, "termsOfUse": []any{}}
	}
	everyTime := Object{
		"signInFrequency": Object{"isEnabled": true, "frequencyInterval": "everyTime", "authenticationType": "primaryAndSecondaryAuthentication", "type": nil, "value": nil},
	}
	s.policy("Require multifactor authentication for all users", "enabled", nil, nil, grant("OR", "mfa"), nil)
	s.policy("Sign-in risk: multifactor authentication", "enabled", nil, []any{"high", "medium"}, grant("OR", "mfa"), everyTime)
	s.policy("User risk: secure password change", "enabled", []any{"high"}, nil, grant("AND", "mfa", "passwordChange"), everyTime)
	s.policy("User risk: require risk remediation", "enabledForReportingButNotEnforced", []any{"high"}, nil, grant("AND", "riskRemediation"), everyTime)
	s.policy("Block legacy authentication", "disabled", nil, nil, grant("OR", "block"), nil)

	t := s.w.tables[NamedLocations].(*table)
	location := func(kind, name string, more Object) {
		id := s.w.newID()
		o := Object{"@odata.type": "#microsoft.graph." + kind, "id": id, "displayName": name,
			"createdDateTime": stamp(s.w.start.AddDate(-1, 0, 0)), "modifiedDateTime": stamp(s.w.start.AddDate(0, -2, 0))}
		for k, v := range more {
			o[k] = v
		}
		t.add(id, o)
	}
	cidr := func(list ...string) []any {
		var out []any
		for _, c := range list {
			out = append(out, Object{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": c})
		}
		return out
	}
	location("ipNamedLocation", "Offices", Object{"isTrusted": true, "ipRanges": cidr("203.0.113.0/26")})
	location("ipNamedLocation", "VPN egress", Object{"isTrusted": true, "ipRanges": cidr("203.0.113.64/28")})
	location("countryNamedLocation", "Countries we work in", Object{"countriesAndRegions": []any{"DE", "AT", "NL", "PL", "PT"},
		"countryLookupMethod": "clientIpAddress", "includeUnknownCountriesAndRegions": false})
}

func (s *seeder) policy(name, state string, userRisk, signInRisk []any, grant, session Object) {
	id := s.w.newID()
	var sessions any
	if session != nil {
		sessions = session
	}
	s.w.tables[ConditionalAccessPolicies].(*table).add(id, Object{
		"id": id, "displayName": name, "state": state, "createdDateTime": stamp(s.w.start.AddDate(0, -8, 0)), "modifiedDateTime": nil,
		"templateId": nil, "grantControls": grant, "sessionControls": sessions,
		"conditions": Object{
			"clientAppTypes": []any{"all"}, "userRiskLevels": orEmpty(userRisk), "signInRiskLevels": orEmpty(signInRisk),
			"servicePrincipalRiskLevels": []any{}, "platforms": nil, "locations": nil, "devices": nil, "clientApplications": nil,
			"applications": Object{"includeApplications": []any{"All"}, "excludeApplications": []any{}, "includeUserActions": []any{},
				"includeAuthenticationContextClassReferences": []any{}},
			"users": Object{"includeUsers": []any{"All"}, "excludeUsers": []any{}, "includeGroups": []any{},
				"excludeGroups": []any{s.breakGlassGroup}, "includeRoles": []any{}, "excludeRoles": []any{}},
		},
	})
}
