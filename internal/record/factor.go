package record

import (
	"encoding/json"
	"strings"
)

// SecondFactor reports whether the person gave a second factor in this very sign-in,
// as far as the source tells: a factor that an earlier sign-in gave, and that the
// session only carries, is none. Only interactive sign-ins have one.
//
// Sources: Microsoft Graph, signIn (status.additionalDetails, isInteractive, and in the
// beta authenticationRequirement and authenticationDetails).
func (r Record) SecondFactor() bool {
	if r.Source != SignIn {
		return false
	}
	var raw struct {
		Interactive *bool `json:"isInteractive"`
		Status      struct {
			Details string `json:"additionalDetails"`
		} `json:"status"`
		Requirement string `json:"authenticationRequirement"`
		Steps       []struct {
			Method    string `json:"authenticationMethod"`
			Detail    string `json:"authenticationStepResultDetail"`
			Succeeded bool   `json:"succeeded"`
		} `json:"authenticationDetails"`
	}
	if json.Unmarshal(r.Raw, &raw) != nil || raw.Interactive == nil || !*raw.Interactive {
		return false
	}
	if carried(raw.Status.Details) {
		return false
	}
	if d := strings.ToLower(raw.Status.Details); strings.Contains(d, "mfa completed") || strings.Contains(d, "mfa successfully completed") {
		return true
	}
	if !strings.EqualFold(raw.Requirement, "multiFactorAuthentication") {
		return false
	}
	for _, s := range raw.Steps {
		switch m := strings.ToLower(s.Method); {
		case !s.Succeeded, carried(s.Detail), m == "", strings.Contains(m, "password"), strings.Contains(m, "previously satisfied"):
		default:
			return true
		}
	}
	return false
}

// carried reports whether a detail says that the factor came with the session.
func carried(detail string) bool {
	d := strings.ToLower(detail)
	return strings.Contains(d, "satisfied by claim") || strings.Contains(d, "previously satisfied") || strings.Contains(d, "satisfied due to")
}
