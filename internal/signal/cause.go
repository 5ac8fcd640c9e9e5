package signal

import (
	"strings"

	"github.com/seed-f47efad2/cordon/internal/identity"
)

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

// traits holds the detections Cordon understands, by type in lower case: all that
// Microsoft documents, and the directory attacks of Defender for Identity by the
// beginning of their title. An unheard-of type is kept, shown and scored by its
// level, with CauseUnknown.
// Source of names and levels: Microsoft Entra ID Protection, risk detection types;
// Microsoft Defender for Identity, security alerts. Half-lives and priors are
// Cordon's own.
var traits = map[string]Trait{
	// users and sign-ins
	"leakedcredentials":                    {CausePassword, "credential access", 0.80, 0, LevelHigh},
	"passwordspray":                        {CausePassword, "credential access", 0.85, 7, ""},
	"userreportedsuspiciousactivity":       {CausePassword, "credential access", 0.80, 0, LevelHigh},
	"anomaloustoken":                       {CauseSession, "credential access", 0, 14, ""},
	"tokenissueranomaly":                   {CauseSession, "credential access", 0, 14, ""},
	"attackerinthemiddle":                  {CauseBoth, "credential access", 0.85, 0, LevelHigh},
	"attemptedprtaccess":                   {CauseSession, "credential access", 0.80, 0, LevelHigh},
	"anonymizedipaddress":                  {CauseUnknown, "initial access", 0, 7, ""},
	"riskyipaddress":                       {CauseUnknown, "initial access", 0, 7, ""},
	"maliciousipaddress":                   {CauseUnknown, "initial access", 0, 7, ""},
	"nationstateip":                        {CauseBoth, "initial access", 0.85, 0, LevelHigh},
	"unlikelytravel":                       {CauseUnknown, "initial access", 0, 3, ""},
	"mcasimpossibletravel":                 {CauseUnknown, "initial access", 0, 3, ""},
	"unfamiliarfeatures":                   {CauseUnknown, "initial access", 0, 3, ""},
	"newcountry":                           {CauseUnknown, "initial access", 0, 3, ""},
	"suspiciousbrowser":                    {CauseUnknown, "initial access", 0, 7, ""},
	"investigationsthreatintelligence":     {CauseUnknown, "initial access", 0, 14, ""},
	"generic":                              {CauseUnknown, "initial access", 0, 14, ""},
	"suspiciousapitraffic":                 {CauseUnknown, "discovery", 0, 7, ""},
	"anomaloususeractivity":                {CauseUnknown, "persistence", 0, 14, ""},
	"mcasfinsuspiciousfileaccess":          {CauseUnknown, "collection", 0, 14, ""},
	"suspiciousinboxforwarding":            {CauseUnknown, "collection", 0, 14, ""},
	"mcassuspiciousinboxmanipulationrules": {CauseUnknown, "defense evasion", 0, 14, ""},
	"suspicioussendingpatterns":            {CauseUnknown, "lateral movement", 0, 14, LevelMedium},
	"adminconfirmedusercompromised":        {CauseUnknown, "initial access", 0.90, 0, LevelHigh},
	"aicompoundaccountrisk":                {CauseUnknown, "initial access", 0.80, 0, LevelHigh},

	// workloads
	"suspicioussignins":                         {CauseWorkload, "initial access", 0, 14, ""},
	"adminconfirmedserviceprincipalcompromised": {CauseWorkload, "initial access", 0.90, 0, LevelHigh},
	"maliciousapplication":                      {CauseWorkload, "persistence", 0.85, 0, LevelHigh},
	"suspiciousapplication":                     {CauseWorkload, "persistence", 0, 0, ""},
	"anomalousserviceprincipalactivity":         {CauseWorkload, "persistence", 0, 14, ""},

	// agents
	"adminconfirmedagentcompromised": {CauseWorkload, "initial access", 0.90, 0, LevelHigh},
	"earlylifemaliciousactivity":     {CauseWorkload, "initial access", 0, 14, ""},
	"entradirectoryreconnaissance":   {CauseWorkload, "discovery", 0, 7, ""},
	"failedaccessattempt":            {CauseWorkload, "credential access", 0, 7, ""},
	"threatintelligenceaccount":      {CauseWorkload, "initial access", 0, 14, ""},
	"signinspike":                    {CauseWorkload, "initial access", 0, 3, ""},
	"suspiciouscredentialusage":      {CauseWorkload, "persistence", 0, 14, ""},
	"unfamiliarresourceaccess":       {CauseWorkload, "discovery", 0, 3, ""},

	// Defender for Identity, by title
	"suspected dcsync attack":                  {CauseDirectory, "credential access", 0.95, 0, LevelHigh},
	"suspected golden ticket usage":            {CauseDirectory, "persistence", 0.95, 0, LevelHigh},
	"possible golden ticket attack":            {CauseDirectory, "persistence", 0.95, 0, LevelHigh},
	"suspected identity theft (pass-the-hash)": {CausePassword, "lateral movement", 0.6, 7, ""},
}

// Known returns what is known of the signal's type, and whether it is in the
// catalogue at all. Workload signals get CauseWorkload whatever their type.
func (s Signal) Known() (Trait, bool) {
	t, ok := traits[strings.ToLower(s.Type)]
	if !ok && s.Source == DefenderAlert {
		title, longest := strings.ToLower(s.Title), ""
		for name, c := range traits {
			if strings.Contains(name, " ") && strings.HasPrefix(title, name) && len(name) > len(longest) {
				t, ok, longest = c, true, name
			}
		}
	}
	if !ok {
		t = Trait{Cause: CauseUnknown, Stage: "unknown", HalfLife: 14}
	}
	if s.Subject.Kind == identity.KindWorkload {
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
