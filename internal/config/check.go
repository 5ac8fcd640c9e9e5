package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A mistake is something wrong at a key such as "tenants[0].mode".
type mistake struct {
	key string
	err error
}

// A findings gathers mistakes.
type findings struct{ list []mistake }

func (f *findings) add(key, format string, args ...any) {
	f.list = append(f.list, mistake{key, fmt.Errorf(format, args...)})
}

// under adds the mistakes of another package's Check, whose texts begin with the
// key below prefix.
func (f *findings) under(prefix string, err error) {
	var list []error
	switch e := err.(type) {
	case nil:
	case *fault.Error: // it unwraps to several too, its kind and its cause
		list = []error{e}
	case interface{ Unwrap() []error }:
		list = e.Unwrap()
	default:
		list = []error{e}
	}
	for _, e := range list {
		key, text, ok := strings.Cut(e.Error(), ": ")
		if !ok || strings.ContainsAny(key, " /") {
			f.add(prefix, "%w", e)
			continue
		}
		f.add(prefix+"."+key, "%s", text)
	}
}

func (f *findings) has(key string) bool {
	return slices.ContainsFunc(f.list, func(m mistake) bool { return m.key == key })
}

func oneOf(words ...string) string { return strings.Join(words, ", ") }

var (
	slug = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{0,63}$`)
	guid = regexp.MustCompile(`^(?i)[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// mistakes returns everything that is wrong with c, without a network.
func (c Config) mistakes() []mistake {
	f := &findings{}
	switch {
	case c.Store == "":
		f.add("store", "missing: sqlite:PATH or postgres://…")
	case c.Store == "sqlite:" || !strings.HasPrefix(c.Store, "sqlite:") && !strings.HasPrefix(c.Store, "postgres://") && !strings.HasPrefix(c.Store, "postgresql://"):
		// The value is not repeated: it may hold a password.
		f.add("store", "it must be sqlite:PATH or postgres://…")
	}
	c.checkListener(f)
	if words := []string{"debug", "info", "warn", "error"}; c.Log.Level != "" && !slices.Contains(words, c.Log.Level) {
		f.add("log.level", "%q is not one of %s", c.Log.Level, oneOf(words...))
	}
	if words := []string{"text", "json"}; c.Log.Format != "" && !slices.Contains(words, c.Log.Format) {
		f.add("log.format", "%q is not one of %s", c.Log.Format, oneOf(words...))
	}
	if c.Audit.Key == "" {
		f.add("audit.key", "missing: a reference to a key made by `cordon audit keygen`")
	} else if err := c.Audit.Key.Check(); err != nil {
		f.add("audit.key", "%w", err)
	}
	if d := c.Retention.Intents; d > 0 && d < 48*time.Hour {
		f.add("retention.intents", "%s is under 48h: the brakes count what left in the last day", d)
	}
	ids := map[string]bool{}
	for n, o := range c.Operators {
		at := fmt.Sprintf("operators[%d]", n)
		o.check(f, at)
		if ids[o.ID] {
			f.add(at+".id", "%q is taken by an operator above", o.ID)
		}
		ids[o.ID] = true
	}
	receivers := map[string]bool{}
	for n, r := range c.Notify {
		at := fmt.Sprintf("notify[%d]", n)
		f.under(at, r.Check())
		if receivers[r.ID] {
			f.add(at+".id", "%q is taken by a receiver above", r.ID)
		}
		receivers[r.ID] = true
	}
	c.checkQuestions(f)
	if len(c.Tenants) == 0 {
		f.add("tenants", "there is none")
	}
	tenants, senders := map[identity.Tenant]bool{}, map[string]bool{}
	for n, t := range c.Tenants {
		at := fmt.Sprintf("tenants[%d]", n)
		t.check(f, at)
		if tenants[t.Key()] {
			f.add(at+".tenant_id", "%s is listed twice", t.TenantID)
		}
		tenants[t.Key()] = true
		for m, s := range t.Senders {
			if senders[s.Name] {
				f.add(fmt.Sprintf("%s.senders[%d].name", at, m), "%q is taken by a sender above", s.Name)
			}
			senders[s.Name] = true
		}
	}
	return f.list
}

func (c Config) checkQuestions(f *findings) {
	q := c.Questions
	switch {
	case q.Key != "":
		if err := q.Key.Check(); err != nil {
			f.add("questions.key", "%w", err)
		}
	case len(q.Channels) > 0:
		f.add("questions.key", "missing: a reference to what links are made with; make one with `openssl rand -base64 32`")
	}
	if q.URL != "" {
		u, err := url.Parse(q.URL)
		if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && (u.Scheme != "http" || !loopbackHost(u.Hostname())) {
			f.add("questions.url", "%q is no https address", q.URL)
		}
	} else if len(q.Channels) > 0 && c.PublicURL == "" {
		f.add("questions.url", "missing: how people reach the page where they answer; or give public_url")
	}
	if words := []string{"none", "low", "medium", "high"}; q.Believe != "" && !slices.Contains(words, q.Believe) {
		f.add("questions.believe", "%q is not one of %s", q.Believe, oneOf(words...))
	}
	if q.PerHour < 0 {
		f.add("questions.per_hour", "%d is negative", q.PerHour)
	}
	if q.PerDay < 0 {
		f.add("questions.per_day", "%d is negative", q.PerDay)
	}
	ids := map[string]bool{}
	for n, ch := range q.Channels {
		at := fmt.Sprintf("questions.channels[%d]", n)
		f.under(at, ch.Check())
		if ids[ch.ID] {
			f.add(at+".id", "%q is taken by a channel above", ch.ID)
		}
		ids[ch.ID] = true
	}
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) checkListener(f *findings) {
	if c.Listen != "" {
		host, _, err := net.SplitHostPort(c.Listen)
		ip := net.ParseIP(host)
		switch {
		case err != nil:
			f.add("listen", "%q is not HOST:PORT: %w", c.Listen, err)
		case c.TLS.CertFile == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()):
			f.add("listen", "%s is not loopback; tokens would travel in clear. Give tls.cert_file and tls.key_file, or listen on 127.0.0.1 behind a proxy", c.Listen)
		}
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		f.add("tls", "cert_file and key_file go together")
	}
	if c.PublicURL != "" {
		if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			f.add("public_url", "%q is no URL", c.PublicURL)
		}
	}
}

func (o Operator) check(f *findings, at string) {
	if !slug.MatchString(o.ID) {
		f.add(at+".id", "%q: it takes 1 to 64 of a-z, 0-9, . _ @ -, the first a letter or digit", o.ID)
	}
	if len(o.Roles) == 0 {
		f.add(at+".roles", "none; there are %v", access.Roles())
	}
	for n, r := range o.Roles {
		if !access.Role(r).Known() {
			f.add(fmt.Sprintf("%s.roles[%d]", at, n), "no role %q; there are %v", r, access.Roles())
		}
	}
	if o.Token != "" {
		if err := o.Token.Check(); err != nil {
			f.add(at+".token", "%w", err)
		}
	}
}

func (t Tenant) check(f *findings, at string) {
	f.under(at, t.Config.Check())
	if key := at + ".tenant_id"; !guid.MatchString(t.TenantID) && !f.has(key) {
		f.add(key, "%q is not a GUID; the Entra admin centre shows it under Overview", t.TenantID)
	}
	if t.Mode != "" && t.Mode != "observe" && t.Mode != "act" {
		f.add(at+".mode", "%q is not one of observe, act", t.Mode)
	}
	domains := map[string]bool{}
	for n, d := range t.Directories {
		key := fmt.Sprintf("%s.directories[%d]", at, n)
		f.under(key, d.Check())
		if name := strings.ToLower(d.Domain); domains[name] && name != "" {
			f.add(key+".domain", "%s is listed twice", d.Domain)
		}
		domains[strings.ToLower(d.Domain)] = true
	}
	t.checkChannels(f, at)
	for n, p := range t.Protected {
		p.check(f, fmt.Sprintf("%s.protected[%d]", at, n))
	}
	f.under(at+".limits", t.Limits.Check())
	c := t.Connectors
	for _, k := range []struct {
		name string
		d    time.Duration
	}{
		{"risk_detections", c.RiskDetections}, {"workload_detections", c.WorkloadDetections}, {"risky_users", c.RiskyUsers}, {"alerts", c.Alerts},
		{"directory", c.Directory}, {"registration", c.Registration}, {"open_cases", c.OpenCases},
		{"risky_workloads", c.RiskyWorkloads}, {"agents", c.Agents}, {"incidents", c.Incidents}, {"sensors", c.Sensors}, {"sign_ins", c.SignIns},
		{"other_sign_ins", c.OtherSignIns}, {"risky_sign_ins", c.RiskySignIns}, {"audits", c.Audits}, {"users", c.Users}, {"objects", c.Objects},
	} {
		if k.d > 0 && k.d < time.Second {
			f.add(at+".connectors."+k.name, "%s is under a second", k.d)
		}
	}
}

// checkChannels looks at what is pushed. Feeds have names of their own.
func (t Tenant) checkChannels(f *findings, at string) {
	feeds := map[string]bool{}
	unique := func(key, name string) {
		if feeds[name] {
			f.add(key, "the feed %s is listed twice; give this one another name", name)
		}
		feeds[name] = true
	}
	for n, h := range t.EventHubs {
		key := fmt.Sprintf("%s.event_hubs[%d]", at, n)
		f.under(key, h.Check())
		if len(h.Hubs) > 0 || h.Name != "" {
			unique(key+".name", string(h.Feed()))
		}
	}
	for n, s := range t.Syslog {
		key := fmt.Sprintf("%s.syslog[%d]", at, n)
		f.under(key, s.Check())
		unique(key+".name", string(s.Feed()))
	}
	for n, s := range t.Senders {
		key := fmt.Sprintf("%s.senders[%d]", at, n)
		if !slug.MatchString(s.Name) {
			f.add(key+".name", "%q: it takes 1 to 64 of a-z, 0-9, . _ @ -, the first a letter or digit", s.Name)
		}
		if s.Secret == "" {
			f.add(key+".secret", "missing: a reference such as env:CORDON_SENDER")
		} else if err := s.Secret.Check(); err != nil {
			f.add(key+".secret", "%w", err)
		}
		if s.OldSecret != "" {
			if err := s.OldSecret.Check(); err != nil {
				f.add(key+".old_secret", "%w", err)
			}
		}
	}
}

func (p Protected) check(f *findings, at string) {
	given := 0
	for _, v := range []string{p.ID, p.UPN, p.SID, p.Group} {
		if v != "" {
			given++
		}
	}
	if given != 1 {
		f.add(at, "give exactly one of id, upn, sid and group")
	}
	if p.Reason == "" {
		f.add(at+".reason", "missing; it is shown wherever the protection stops something")
	}
	if p.Group != "" && !guid.MatchString(p.Group) && !identity.IsSID(p.Group) {
		f.add(at+".group", "%q is neither an object id nor a SID", p.Group)
	}
}
