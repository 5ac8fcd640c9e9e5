package world

import "time"

// Event is something that happens in the tenant without a Graph call. Its JSON
// and YAML forms are the same; unknown keys are errors. Type decides which
// other fields count; a field that does not belong to the type is an error.
//
// A person is named by alias, object id, user principal name, on-premises SID
// or DOMAIN\account. An account that exists only in Active Directory is named
// by SID or DOMAIN\account.
type Event struct {
	Type string `json:"type" yaml:"type"`

	User             string   `json:"user,omitempty" yaml:"user,omitempty"`
	Users            []string `json:"users,omitempty" yaml:"users,omitempty"`                       // alert: more accounts in evidence; detection, signIn: one event for each
	ServicePrincipal string   `json:"servicePrincipal,omitempty" yaml:"servicePrincipal,omitempty"` // id, appId, display name or alias
	By               string   `json:"by,omitempty" yaml:"by,omitempty"`                             // feedback, audit, adminReset: the person who acts

	// Name lets later events refer to the detection, sign-in or alert made here.
	Name string `json:"name,omitempty" yaml:"name,omitempty"`
	// Of refers to an earlier Name, or gives an id.
	Of string `json:"of,omitempty" yaml:"of,omitempty"`

	// Transition is T1 … T24 of the risk life cycle, listed in transitions.go.
	Transition string `json:"transition,omitempty" yaml:"transition,omitempty"`

	RiskEventType  string            `json:"riskEventType,omitempty" yaml:"riskEventType,omitempty"`
	RiskLevel      string            `json:"riskLevel,omitempty" yaml:"riskLevel,omitempty"`
	RiskState      string            `json:"riskState,omitempty" yaml:"riskState,omitempty"`
	RiskDetail     string            `json:"riskDetail,omitempty" yaml:"riskDetail,omitempty"`
	Activity       string            `json:"activity,omitempty" yaml:"activity,omitempty"` // signin or user; default by riskEventType
	Timing         string            `json:"timing,omitempty" yaml:"timing,omitempty"`     // realtime, nearRealtime, offline; default by riskEventType
	Source         string            `json:"source,omitempty" yaml:"source,omitempty"`
	AdditionalInfo map[string]string `json:"additionalInfo,omitempty" yaml:"additionalInfo,omitempty"`
	KeyIDs         []string          `json:"keyIds,omitempty" yaml:"keyIds,omitempty"`         // servicePrincipalDetection; "any" = its first credential
	Ago            Duration          `json:"ago,omitzero" yaml:"ago,omitempty"`                // the activity lies this far before the event
	RaiseAlert     bool              `json:"raiseAlert,omitempty" yaml:"raiseAlert,omitempty"` // detection: Defender shows an alert for it too

	IPAddress string    `json:"ip,omitempty" yaml:"ip,omitempty"`
	Location  *Location `json:"location,omitempty" yaml:"location,omitempty"`
	UserAgent string    `json:"userAgent,omitempty" yaml:"userAgent,omitempty"`
	App       string    `json:"app,omitempty" yaml:"app,omitempty"`             // application a sign-in goes to
	ErrorCode int       `json:"errorCode,omitempty" yaml:"errorCode,omitempty"` // signIn: the password or factor was refused with this code
	// SignInEventType is the kind of a sign-in: interactiveUser (the default),
	// nonInteractiveUser, or servicePrincipal and managedIdentity of ServicePrincipal.
	SignInEventType string   `json:"signInEventType,omitempty" yaml:"signInEventType,omitempty"`
	TokenAge        Duration `json:"tokenAge,omitzero" yaml:"tokenAge,omitempty"` // signIn: an existing session of this age is used; refused once revoked

	Title         string   `json:"title,omitempty" yaml:"title,omitempty"`
	Severity      string   `json:"severity,omitempty" yaml:"severity,omitempty"`
	Category      string   `json:"category,omitempty" yaml:"category,omitempty"`
	DetectorID    string   `json:"detectorId,omitempty" yaml:"detectorId,omitempty"`
	Description   string   `json:"description,omitempty" yaml:"description,omitempty"`
	Techniques    []string `json:"mitreTechniques,omitempty" yaml:"mitreTechniques,omitempty"`
	ServiceSource string   `json:"serviceSource,omitempty" yaml:"serviceSource,omitempty"` // default microsoftDefenderForIdentity
	Role          string   `json:"role,omitempty" yaml:"role,omitempty"`                   // evidence role of User, default source
	Device        string   `json:"device,omitempty" yaml:"device,omitempty"`               // host name in evidence; device id for T5
	Destination   string   `json:"destination,omitempty" yaml:"destination,omitempty"`     // host name attacked
	Incident      string   `json:"incident,omitempty" yaml:"incident,omitempty"`           // alerts with the same key share an incident

	AccountEnabled *bool  `json:"accountEnabled,omitempty" yaml:"accountEnabled,omitempty"` // onPremisesChange
	Control        string `json:"control,omitempty" yaml:"control,omitempty"`               // T2: passwordChange or riskRemediation; T21: revokeSessions, disableUser or disableDevice
	Sensor         string `json:"sensor,omitempty" yaml:"sensor,omitempty"`                 // sensor: display name
	Status         string `json:"status,omitempty" yaml:"status,omitempty"`                 // sensor: up or down

	ActivityDisplayName string `json:"activityDisplayName,omitempty" yaml:"activityDisplayName,omitempty"` // audit
	Permission          string `json:"permission,omitempty" yaml:"permission,omitempty"`                   // audit of a consent or role
}

// The types of events.
const (
	EventDetection                 = "detection"                 // a risk detection on User (and its sign-in, for sign-in risk)
	EventRecalculate               = "recalculate"               // detection Of moves to RiskLevel
	EventRiskyUser                 = "riskyUser"                 // the user's risk is set outright to RiskState, RiskLevel, RiskDetail
	EventSignIn                    = "signIn"                    // User or ServicePrincipal signs in, or is refused
	EventRemediation               = "remediation"               // T1–T10: a control was passed or a password changed
	EventFeedback                  = "feedback"                  // T11–T16 by a person in the portal
	EventCloseAlert                = "closeAlert"                // T17: Defender alert Of is resolved
	EventSystem                    = "system"                    // T18–T21: the service closes, raises or acts
	EventAlert                     = "alert"                     // a Defender alert with evidence
	EventAudit                     = "audit"                     // a line in the directory audit
	EventServicePrincipalDetection = "servicePrincipalDetection" // a risk detection on ServicePrincipal
	EventAddCredential             = "addCredential"             // By gives the application of ServicePrincipal a new client secret
	EventAgentDetection            = "agentDetection"            // the agent Title (id Of) is at risk at RiskLevel
	EventAddMethod                 = "addMethod"                 // User registers an authentication method of the kind Title
	EventInboxRule                 = "inboxRule"                 // an inbox rule Title in User's mailbox that does Description: forward, delete, hide or sort
	EventSyncCycle                 = "syncCycle"                 // directory synchronisation runs now
	EventOnPremisesChange          = "onPremisesChange"          // AD administrator sets AccountEnabled
	EventPasswordChange            = "passwordChange"            // an ordinary change outside the risk flow (T10)
	EventOnPremisesPasswordChange  = "onPremisesPasswordChange"  // T8 or T9, as the settings say
	EventDeleteUser                = "deleteUser"
	EventSensor                    = "sensor" // a Defender for Identity sensor goes Status up or down
)

// Location is where an address is thought to be.
type Location struct {
	City            string   `json:"city,omitempty" yaml:"city,omitempty"`
	State           string   `json:"state,omitempty" yaml:"state,omitempty"`
	CountryOrRegion string   `json:"countryOrRegion,omitempty" yaml:"countryOrRegion,omitempty"` // two letters
	Latitude        *float64 `json:"latitude,omitempty" yaml:"latitude,omitempty"`
	Longitude       *float64 `json:"longitude,omitempty" yaml:"longitude,omitempty"`
}

// Duration is a time.Duration written as "90s" or "2h".
type Duration time.Duration

// MarshalText writes the duration as Go does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads Go's notation.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}
