// Package config reads Cordon's one configuration file. It only composes: what a
// section means is checked by the package that uses it. Unknown keys are errors,
// secrets are references, and every value can be overridden from the environment.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/connector/cef"
	"github.com/seed-f47efad2/cordon/internal/connector/kafka"
	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/notify"
	"github.com/seed-f47efad2/cordon/internal/question"
	"github.com/seed-f47efad2/cordon/internal/secret"
	"github.com/seed-f47efad2/cordon/internal/signal"
)

// A Config is the whole file. cordon.example.yaml shows every key.
type Config struct {
	Store     string            `yaml:"store"`      // sqlite:PATH or postgres://…
	Listen    string            `yaml:"listen"`     // HOST:PORT; 127.0.0.1:8480
	PublicURL string            `yaml:"public_url"` // how operators reach the console; links are made with it
	TLS       TLS               `yaml:"tls"`
	Log       Log               `yaml:"log"`
	Audit     Audit             `yaml:"audit"`
	Playbooks []string          `yaml:"playbooks"` // folders; empty: the ones that Cordon ships
	Operators []Operator        `yaml:"operators"`
	Retention Retention         `yaml:"retention"`
	Notify    []notify.Receiver `yaml:"notify"` // who is told what happens
	Questions Questions         `yaml:"questions"`
	Tenants   []Tenant          `yaml:"tenants"`
}

// Questions say how people are asked whether it was them.
type Questions struct {
	Key     secret.Ref `yaml:"key"`      // what links are made with: at least 32 characters; the same on every replica
	URL     string     `yaml:"url"`      // how people reach Cordon's page below /ask/; public_url
	Believe string     `yaml:"believe"`  // up to this level a yes that is borne out counts: none, low, medium or high; low
	PerHour int        `yaml:"per_hour"` // questions sent in an hour in one tenant; 100
	PerDay  int        `yaml:"per_day"`  // about one person in a day; 3

	Channels []notify.Channel `yaml:"channels"` // of several that reach whom is asked the first is used
}

// Settings returns q as package question sees it.
func (q Questions) Settings() question.Settings {
	out := question.Settings{Believe: signal.Level(q.Believe), PerHour: q.PerHour, PerDay: q.PerDay}
	for _, c := range q.Channels {
		out.Channels = append(out.Channels, question.Channel{ID: c.ID, Reach: c.Reaches})
	}
	return out
}

// SecretKey reads the key that links are made with.
func (q Questions) SecretKey() ([]byte, error) {
	if q.Key == "" {
		return nil, fault.Errorf(fault.Invalid, "questions.key is missing: make one with `openssl rand -base64 32`")
	}
	text, err := q.Key.Read()
	if err != nil {
		return nil, fmt.Errorf("questions.key: %w", err)
	}
	if len(text) < question.MinKey {
		return nil, fault.Errorf(fault.Invalid, "questions.key: under %d characters; make one with `openssl rand -base64 32`", question.MinKey)
	}
	return []byte(text), nil
}

// Base is where people reach Cordon's pages, without a slash at the end; "" when
// nobody said.
func (c Config) Base() string {
	return strings.TrimRight(cmp.Or(c.Questions.URL, c.PublicURL), "/")
}

// A Retention says how long rows are kept that nothing needs any more. A negative
// duration keeps them for ever.
type Retention struct {
	Records  time.Duration `yaml:"records"`  // sign-ins, audits, logons; 2160h (90 days)
	Rejects  time.Duration `yaml:"rejects"`  // what could not be read; 2160h
	Versions time.Duration `yaml:"versions"` // what signals and assessments said before; 9600h (400 days)
	Intents  time.Duration `yaml:"intents"`  // what left the house, for the brakes' counts; 720h, at least 48h
}

// WithDefaults returns r with the durations that were not given.
func (r Retention) WithDefaults() Retention {
	const day = 24 * time.Hour
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&r.Records, 90*day)
	set(&r.Rejects, 90*day)
	set(&r.Versions, 400*day)
	set(&r.Intents, 30*day)
	return r
}

// TLS is the listener's certificate; without one Cordon listens on loopback only.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Log says how Cordon logs to standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error; info
	Format string `yaml:"format"` // text or json; text
}

// Audit says where the log's key is and where checkpoints are kept besides the
// database.
type Audit struct {
	Key            secret.Ref `yaml:"key"`             // a signing key made by `cordon audit keygen`
	CheckpointFile string     `yaml:"checkpoint_file"` // rewritten with each checkpoint; keep it where the database's owner cannot write
}

// An Operator is a person or a token that uses Cordon.
type Operator struct {
	ID      string     `yaml:"id"`
	Name    string     `yaml:"name"`
	Roles   []string   `yaml:"roles"`
	Groups  []string   `yaml:"groups"`  // named by playbooks' approvals
	Account string     `yaml:"account"` // object id or UPN of the operator's own account
	Token   secret.Ref `yaml:"token"`   // bearer token for API and console
}

// Operator returns o as access sees it.
func (o Operator) Operator() access.Operator {
	out := access.Operator{ID: access.OperatorID(o.ID), Name: o.Name, Groups: o.Groups, Account: o.Account}
	for _, r := range o.Roles {
		out.Roles = append(out.Roles, access.Role(r))
	}
	return out
}

// A Tenant is one Microsoft Entra tenant.
type Tenant struct {
	Name         string `yaml:"name"` // for people
	graph.Config `yaml:",inline"`

	Mode        string             `yaml:"mode"` // observe or act; observe
	Connectors  Connectors         `yaml:"connectors"`
	Directories []directory.Config `yaml:"directories"` // Active Directory domains
	// ResetClearsRisk is a setting of the tenant that Graph does not show.
	ResetClearsRisk *bool           `yaml:"on_premises_reset_clears_risk"`
	Protected       []Protected     `yaml:"protected"`
	Limits          dispatch.Limits `yaml:"limits"`

	EventHubs []kafka.Config `yaml:"event_hubs"` // read over the Kafka protocol
	Syslog    []cef.Config   `yaml:"syslog"`     // listened for
	Senders   []Sender       `yaml:"senders"`    // who may push signals
}

// A Sender pushes signals to POST /api/signals, signed with the secret.
type Sender struct {
	Name      string     `yaml:"name"`       // sent as Cordon-Sender; unique over all tenants
	Secret    secret.Ref `yaml:"secret"`     // at least 32 characters
	OldSecret secret.Ref `yaml:"old_secret"` // taken too while a rotation is under way
	// Expect is how often something comes when all is well; 0: 24 hours; negative: no
	// alarm is raised.
	Expect time.Duration `yaml:"expect"`
}

// Interval is how often something is expected; zero: nothing is.
func (s Sender) Interval() time.Duration { return max(0, cmp.Or(s.Expect, 24*time.Hour)) }

// Key returns the tenant's id in canonical form.
func (t Tenant) Key() identity.Tenant { return identity.Tenant(strings.ToLower(t.TenantID)) }

// Acts reports whether Cordon may change anything in the tenant.
func (t Tenant) Acts() bool { return t.Mode == "act" }

// Connectors says how often each stream is read; 0 takes the default, a
// negative interval switches the stream off.
type Connectors struct {
	RiskDetections time.Duration `yaml:"risk_detections"`
	// WorkloadDetections needs Workload ID Premium in the tenant.
	WorkloadDetections time.Duration `yaml:"workload_detections"`
	RiskyUsers         time.Duration `yaml:"risky_users"`
	RiskyWorkloads     time.Duration `yaml:"risky_workloads"`
	Agents             time.Duration `yaml:"agents"` // Graph's beta; off unless given
	Alerts             time.Duration `yaml:"alerts"`
	Incidents          time.Duration `yaml:"incidents"`
	Sensors            time.Duration `yaml:"sensors"` // and the health issues of Defender for Identity
	SignIns            time.Duration `yaml:"sign_ins"`
	OtherSignIns       time.Duration `yaml:"other_sign_ins"` // not interactive; Graph's beta
	RiskySignIns       time.Duration `yaml:"risky_sign_ins"`
	Audits             time.Duration `yaml:"audits"`
	Directory          time.Duration `yaml:"directory"`
	Users              time.Duration `yaml:"users"`
	Registration       time.Duration `yaml:"registration"`
	Objects            time.Duration `yaml:"objects"`    // applications, devices, groups, policies
	OpenCases          time.Duration `yaml:"open_cases"` // facts and history of accounts with an open case
}

// WithDefaults returns c with the intervals that were not given. Identity
// protection allows one request a second for the whole tenant, so its streams
// take well under half of that; the reports, sign-ins and audits among them, allow
// five in ten seconds.
func (c Connectors) WithDefaults() Connectors {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.RiskDetections, 15*time.Second)
	set(&c.WorkloadDetections, 30*time.Second)
	set(&c.RiskyUsers, 30*time.Second)
	set(&c.RiskyWorkloads, time.Minute)
	set(&c.Agents, -time.Second)
	set(&c.Alerts, 15*time.Second)
	set(&c.Incidents, time.Minute)
	set(&c.Sensors, 5*time.Minute)
	set(&c.SignIns, time.Minute)
	set(&c.OtherSignIns, 5*time.Minute)
	set(&c.RiskySignIns, 30*time.Minute)
	set(&c.Audits, time.Minute)
	set(&c.Directory, 10*time.Minute)
	set(&c.Users, 5*time.Minute)
	set(&c.Registration, 6*time.Hour)
	set(&c.Objects, 6*time.Hour)
	set(&c.OpenCases, time.Minute)
	return c
}

// Protected names accounts that automation never changes. Exactly one of ID,
// UPN, SID and Group is given.
type Protected struct {
	ID     string `yaml:"id"`
	UPN    string `yaml:"upn"`
	SID    string `yaml:"sid"`
	Group  string `yaml:"group"` // object id of a group, or the SID of one in Active Directory; its members are protected
	Reason string `yaml:"reason"`
}

// Policy returns the tenant's protection policy.
func (t Tenant) Policy() identity.Policy {
	p := identity.Policy{OwnAppIDs: []string{t.ClientID}, OnPremises: len(t.Directories) > 0}
	for _, e := range t.Protected {
		p.List = append(p.List, identity.Protected{Match: e.ID + e.UPN + e.SID + e.Group, Group: e.Group != "", Reason: e.Reason})
	}
	return p
}

// ProtectedNames returns the protected user principal names.
func (t Tenant) ProtectedNames() []string {
	var names []string
	for _, e := range t.Protected {
		if e.UPN != "" {
			names = append(names, e.UPN)
		}
	}
	return names
}

// ProtectedGroups returns the object ids of the protected groups of Entra.
func (t Tenant) ProtectedGroups() []string {
	return t.groups(func(id string) bool { return !identity.IsSID(id) })
}

// ProtectedSIDs returns the SIDs of the protected groups of Active Directory.
func (t Tenant) ProtectedSIDs() []string { return t.groups(identity.IsSID) }

func (t Tenant) groups(which func(string) bool) []string {
	var ids []string
	for _, e := range t.Protected {
		if e.Group != "" && which(e.Group) {
			ids = append(ids, e.Group)
		}
	}
	return ids
}

// DefaultListen is where Cordon listens unless it is told otherwise.
const DefaultListen = "127.0.0.1:8480"

// Load reads the file, applies the environment and checks everything. All
// mistakes come back together, each with its place; the Config is valid only
// when there are none. Relative paths are relative to the file's folder.
func Load(path string, environ []string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fault.Errorf(fault.Invalid, "configuration: %w", err)
	}
	c, err := Parse(path, text, environ)
	if err != nil {
		return Config{}, err
	}
	var errs []error
	lines := linesOf(text)
	for _, m := range c.mistakes() {
		errs = append(errs, fault.Errorf(fault.Invalid, "%s: %s: %w", lines.place(path, m.key), m.key, m.err))
	}
	return c, errors.Join(errs...)
}

// Check returns every mistake in c at once, without a network. Each begins with
// the key at fault.
func (c Config) Check() error {
	var errs []error
	for _, m := range c.mistakes() {
		errs = append(errs, fault.Errorf(fault.Invalid, "configuration: %s: %w", m.key, m.err))
	}
	return errors.Join(errs...)
}

// resolve makes relative paths relative to the configuration's folder, so that
// it does not matter where Cordon is started.
func (c *Config) resolve(folder string) {
	abs := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(folder, *p)
		}
	}
	ref := func(r *secret.Ref) {
		if path, ok := strings.CutPrefix(string(*r), "file:"); ok && path != "" && !filepath.IsAbs(path) {
			*r = secret.Ref("file:" + filepath.Join(folder, path))
		}
	}
	if path, ok := strings.CutPrefix(c.Store, "sqlite:"); ok && path != "" && !filepath.IsAbs(path) {
		c.Store = "sqlite:" + filepath.Join(folder, path)
	}
	abs(&c.TLS.CertFile)
	abs(&c.TLS.KeyFile)
	abs(&c.Audit.CheckpointFile)
	ref(&c.Audit.Key)
	for n := range c.Playbooks {
		abs(&c.Playbooks[n])
	}
	for n := range c.Operators {
		ref(&c.Operators[n].Token)
	}
	ref(&c.Questions.Key)
	for n := range c.Questions.Channels {
		ref(&c.Questions.Channels[n].URL)
		ref(&c.Questions.Channels[n].Secret)
		ref(&c.Questions.Channels[n].SMTP.Password)
	}
	for n := range c.Notify {
		ref(&c.Notify[n].URL)
		ref(&c.Notify[n].Secret)
		ref(&c.Notify[n].SMTP.Password)
	}
	for n := range c.Tenants {
		t := &c.Tenants[n]
		abs(&t.CAFile)
		abs(&t.Credential.CertificateFile)
		abs(&t.Credential.FederatedTokenFile)
		for m := range t.Directories {
			abs(&t.Directories[m].CAFile)
			abs(&t.Directories[m].Bind.Keytab)
			ref(&t.Directories[m].Bind.Password)
		}
		for m := range t.EventHubs {
			abs(&t.EventHubs[m].CAFile)
			ref(&t.EventHubs[m].ConnectionString)
		}
		for m := range t.Syslog {
			abs(&t.Syslog[m].CertFile)
			abs(&t.Syslog[m].KeyFile)
			abs(&t.Syslog[m].ClientCAFile)
		}
		for m := range t.Senders {
			ref(&t.Senders[m].Secret)
			ref(&t.Senders[m].OldSecret)
		}
		ref(&t.Credential.Secret)
		ref(&t.Credential.CertificatePassword)
	}
}
