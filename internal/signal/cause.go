package signal

import "strings"

// Cause is what an attacker got hold of; the remedy must fit it (law 7).
type Cause string

// The causes.
const (
	CausePassword  Cause = "password" // somebody else knows the password
	CauseSession   Cause = "session"  // a token or session was stolen
	CauseBoth      Cause = "password and session"
	CauseWorkload  Cause = "workload credential"
	CauseDirectory Cause = "directory rights" // rights in Active Directory were used or taken
	CauseUnknown   Cause = "unknown"
)

// A Trait is what Cordon knows of a kind of signal.
type Trait struct {
	Cause    Cause
	Stage    string  // kill-chain stage, ATT&CK tactic in words
	Prior    float64 // 0: by level
	HalfLife float64 // days; 0: does not decay while open
	Floor    Level   // never below this while open
}

// traits holds the detections the foundation understands. An unheard-of type is
// kept, shown and scored by its level, with CauseUnknown.
// Source of names and levels: Microsoft Entra ID Protection risk detection types;
// half-lives and priors are Cordon's own.
var traits = map[string]Trait{
	"leakedcredentials":                        {CausePassword, "credential access", 0.80, 0, LevelHigh},
	"passwordspray":                            {CausePassword, "credential access", 0.85, 7, ""},
	"userreportedsuspiciousactivity":           {CausePassword, "credential access", 0.80, 0, LevelHigh},
	"anomaloustoken":                           {CauseSession, "credential access", 0, 14, ""},
	"tokenissueranomaly":                       {CauseSession, "credential access", 0, 14, ""},
	"attackerinthemiddle":                      {CauseBoth, "credential access", 0.85, 0, LevelHigh},
	"attemptedprtaccess":                       {CauseSession, "credential access", 0.80, 0, LevelHigh},
	"anonymizedipaddress":                      {CauseUnknown, "initial access", 0, 7, ""},
	"maliciousipaddress":                       {CauseUnknown, "initial access", 0, 7, ""},
	"nationstateip":                            {CauseBoth, "initial access", 0.85, 0, LevelHigh},
	"unlikelytravel":                           {CauseUnknown, "initial access", 0, 3, ""},
	"mcasimpossibletravel":                     {CauseUnknown, "initial access", 0, 3, ""},
	"unfamiliarfeatures":                       {CauseUnknown, "initial access", 0, 3, ""},
	"newcountry":                               {CauseUnknown, "initial access", 0, 3, ""},
	"suspiciousbrowser":                        {CauseUnknown, "initial access", 0, 7, ""},
	"investigationsthreatintelligence":         {CauseUnknown, "initial access", 0, 14, ""},
	"suspiciousapitraffic":                     {CauseUnknown, "discovery", 0, 7, ""},
	"anomaloususeractivity":                    {CauseUnknown, "persistence", 0, 14, ""},
	"suspiciousinboxforwarding":                {CauseUnknown, "collection", 0, 14, ""},
	"mcassuspiciousinboxmanipulationrules":     {CauseUnknown, "defense evasion", 0, 14, ""},
	"suspicioussendingpatterns":                {CauseUnknown, "lateral movement", 0, 14, ""},
	"adminconfirmedusercompromised":            {CauseUnknown, "initial access", 0.90, 0, LevelHigh},
	"aicompoundaccountrisk":                    {CauseUnknown, "initial access", 0, 0, ""},
	"suspected dcsync attack":                  {CauseDirectory, "credential access", 0.95, 0, LevelHigh},
	"suspected golden ticket usage":            {CauseDirectory, "persistence", 0.95, 0, LevelHigh},
	"suspected identity theft (pass-the-hash)": {CausePassword, "lateral movement", 0.6, 7, ""},
}

// Known returns what is known of the signal's type, and whether it is in the
// catalogue at all. Workload signals get CauseWorkload whatever their type.
func (s Signal) Known() (Trait, bool) {
	t, ok := traits[strings.ToLower(s.Type)]
	if !ok && s.Source == DefenderAlert {
		title := strings.ToLower(s.Title)
		for name, c := range traits {
			if strings.Contains(name, " ") && strings.HasPrefix(title, name) {
				t, ok = c, true
			}
		}
	}
	if !ok {
		t = Trait{Cause: CauseUnknown, Stage: "unknown", HalfLife: 14}
	}
	if s.Subject.Kind == "workload" {
		t.Cause = CauseWorkload
	}
	return t, ok
}

// Feedback reports whether the signal is a source's record of a verdict (an
// administrator's, or our own confirmation coming back) rather than of something
// that happened to the identity.
func (s Signal) Feedback() bool {
	switch strings.ToLower(s.Type) {
	case "adminconfirmedusercompromised", "adminconfirmedserviceprincipalcompromised", "adminconfirmedagentcompromised":
		return true
	}
	return false
}
