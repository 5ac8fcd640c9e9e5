// Package config reads Cordon's one configuration file. It only composes: what a
// section means is checked by the package that uses it. Unknown keys are errors,
// secrets are references, and every value can be overridden from the environment.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

// A Config is the whole file. cordon.example.yaml shows every key.
type Config struct {
	Store     string     `yaml:"store"`      // sqlite:PATH or postgres://…
	Listen    string     `yaml:"listen"`     // HOST:PORT; 127.0.0.1:8480
	PublicURL string     `yaml:"public_url"` // how operators reach the console; links are made with it
	TLS       TLS        `yaml:"tls"`
	Log       Log        `yaml:"log"`
	Audit     Audit      `yaml:"audit"`
	Playbooks []string   `yaml:"playbooks"` // folders; empty: the ones that Cordon ships
	Operators []Operator `yaml:"operators"`
	Tenants   []Tenant   `yaml:"tenants"`
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

	Mode        string          `yaml:"mode"` // observe or act; observe
	Connectors  Connectors      `yaml:"connectors"`
	Directories []Directory     `yaml:"directories"` // Active Directory domains
	Protected   []Protected     `yaml:"protected"`
	Limits      dispatch.Limits `yaml:"limits"`
}

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
	Alerts             time.Duration `yaml:"alerts"`
	Directory          time.Duration `yaml:"directory"`
	Registration       time.Duration `yaml:"registration"`
	OpenCases          time.Duration `yaml:"open_cases"` // facts and history of accounts with an open case
}

// WithDefaults returns c with the intervals that were not given. Identity
// protection allows one request a second for the whole tenant, so its streams
// take well under half of that.
func (c Connectors) WithDefaults() Connectors {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&c.RiskDetections, 15*time.Second)
	set(&c.WorkloadDetections, 30*time.Second)
	set(&c.RiskyUsers, 30*time.Second)
	set(&c.Alerts, 15*time.Second)
	set(&c.Directory, 10*time.Minute)
	set(&c.Registration, 6*time.Hour)
	set(&c.OpenCases, time.Minute)
	return c
}

// A Directory is an Active Directory domain. No connector for it is built in
// yet, so naming one is an error rather than a promise.
type Directory struct {
	Domain string `yaml:"domain"`
}

// Protected names accounts that automation never changes. Exactly one of ID,
// UPN, SID and Group is given.
type Protected struct {
	ID     string `yaml:"id"`
	UPN    string `yaml:"upn"`
	SID    string `yaml:"sid"`
	Group  string `yaml:"group"` // object id of a group; its members are protected
	Reason string `yaml:"reason"`
}

// Policy returns the tenant's protection policy.
func (t Tenant) Policy() identity.Policy {
	p := identity.Policy{OwnAppIDs: []string{t.ClientID}}
	for _, e := range t.Protected {
		p.List = append(p.List, identity.Protected{Match: e.ID + e.UPN + e.SID + e.Group, Group: e.Group != "", Reason: e.Reason})
	}
	return p
}

// ProtectedGroups returns the ids of the protected groups.
func (t Tenant) ProtectedGroups() []string {
	var ids []string
	for _, e := range t.Protected {
		if e.Group != "" {
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
	return c, c.Check()
}

var slug = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)

// Check returns every mistake in c at once, without a network.
func (c Config) Check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, "configuration: "+format, args...))
	}
	switch {
	case c.Store == "":
		bad("store is missing: sqlite:PATH or postgres://…")
	case !strings.HasPrefix(c.Store, "sqlite:") && !strings.HasPrefix(c.Store, "postgres://") && !strings.HasPrefix(c.Store, "postgresql://"):
		bad("store must begin with sqlite: or postgres://")
	}
	errs = append(errs, c.checkListener()...)
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, c.Log.Level) {
		bad("log.level: %q is not one of debug, info, warn, error", c.Log.Level)
	}
	if !slices.Contains([]string{"", "text", "json"}, c.Log.Format) {
		bad("log.format: %q is not one of text, json", c.Log.Format)
	}
	if c.Audit.Key == "" {
		bad("audit.key is missing: a reference to a key made by `cordon audit keygen`")
	} else if err := c.Audit.Key.Check(); err != nil {
		bad("audit.key: %w", err)
	}
	if len(c.Tenants) == 0 {
		bad("tenants: there is none")
	}
	ids := map[string]bool{}
	for n, o := range c.Operators {
		for _, err := range o.check() {
			bad("operators[%d]: %w", n, err)
		}
		if ids[o.ID] {
			bad("operators[%d]: the id %q is taken", n, o.ID)
		}
		ids[o.ID] = true
	}
	tenants := map[identity.Tenant]bool{}
	for n, t := range c.Tenants {
		for _, err := range t.check() {
			bad("tenants[%d]: %w", n, err)
		}
		if tenants[t.Key()] {
			bad("tenants[%d]: tenant_id %s is listed twice", n, t.TenantID)
		}
		tenants[t.Key()] = true
	}
	return errors.Join(errs...)
}

func (c Config) checkListener() []error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fault.Errorf(fault.Invalid, "configuration: "+format, args...))
	}
	if c.Listen != "" {
		host, _, err := net.SplitHostPort(c.Listen)
		ip := net.ParseIP(host)
		switch {
		case err != nil:
			bad("listen: %w", err)
		case c.TLS.CertFile == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()):
			bad("listen: %s is not loopback; tokens would travel in clear. Give tls.cert_file and tls.key_file, or listen on 127.0.0.1 behind a proxy", c.Listen)
		}
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		bad("tls: cert_file and key_file go together")
	}
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			bad("public_url: %q is no URL", c.PublicURL)
		}
	}
	return errs
}

func (o Operator) check() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slug.MatchString(o.ID) {
		bad("id %q: 1 to 64 of a-z, 0-9, . _ @ -", o.ID)
	}
	if len(o.Roles) == 0 {
		bad("operator %s has no roles; there are %v", o.ID, access.Roles())
	}
	for _, r := range o.Roles {
		if !access.Role(r).Known() {
			bad("operator %s: no role %q; there are %v", o.ID, r, access.Roles())
		}
	}
	if o.Token != "" {
		if err := o.Token.Check(); err != nil {
			bad("operator %s: token: %w", o.ID, err)
		}
	}
	return errs
}

var guid = regexp.MustCompile(`^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func (t Tenant) check() []error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !guid.MatchString(t.TenantID) {
		bad("tenant_id %q is not a GUID; the Entra admin centre shows it under Overview", t.TenantID)
	}
	if err := t.Config.Check(); err != nil {
		errs = append(errs, err)
	}
	if !slices.Contains([]string{"", "observe", "act"}, t.Mode) {
		bad("mode: %q is not one of observe, act", t.Mode)
	}
	for n, d := range t.Directories {
		bad("directories[%d]: %s: Active Directory cannot be connected by this version; leave directories empty, and what needs it is held for a person", n, d.Domain)
	}
	for n, p := range t.Protected {
		given := 0
		for _, v := range []string{p.ID, p.UPN, p.SID, p.Group} {
			if v != "" {
				given++
			}
		}
		if given != 1 {
			bad("protected[%d]: give exactly one of id, upn, sid and group", n)
		}
		if p.Reason == "" {
			bad("protected[%d]: reason is missing; it is shown wherever the protection stops something", n)
		}
		if p.Group != "" && !guid.MatchString(p.Group) {
			bad("protected[%d]: group %q is not an object id", n, p.Group)
		}
	}
	if err := t.Limits.Check(); err != nil {
		errs = append(errs, err)
	}
	c := t.Connectors
	for name, d := range map[string]time.Duration{
		"risk_detections": c.RiskDetections, "workload_detections": c.WorkloadDetections, "risky_users": c.RiskyUsers, "alerts": c.Alerts,
		"directory": c.Directory, "registration": c.Registration, "open_cases": c.OpenCases,
	} {
		if d > 0 && d < time.Second {
			bad("connectors.%s: %s is under a second", name, d)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
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
	for n := range c.Tenants {
		t := &c.Tenants[n]
		abs(&t.CAFile)
		abs(&t.Credential.CertificateFile)
		abs(&t.Credential.FederatedTokenFile)
		ref(&t.Credential.Secret)
		ref(&t.Credential.CertificatePassword)
	}
}
