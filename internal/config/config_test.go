package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

const good = `store: sqlite:cordon.db
audit:
  key: file:audit.key
  checkpoint_file: kept/checkpoint
operators:
  - id: avery
    roles: [owner]
    token: file:avery.token
tenants:
  - tenant_id: 11111111-1111-4111-8111-111111111111
    client_id: 22222222-2222-4222-8222-222222222222
    ca_file: ca.pem
    credential:
      secret: env:SECRET
`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cordon.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad(t *testing.T) {
	t.Parallel()
	path := write(t, good)
	c, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	for _, p := range []struct{ name, got, want string }{
		{"store", c.Store, "sqlite:" + filepath.Join(dir, "cordon.db")},
		{"audit.key", string(c.Audit.Key), "file:" + filepath.Join(dir, "audit.key")},
		{"audit.checkpoint_file", c.Audit.CheckpointFile, filepath.Join(dir, "kept/checkpoint")},
		{"operators[0].token", string(c.Operators[0].Token), "file:" + filepath.Join(dir, "avery.token")},
		{"ca_file", c.Tenants[0].CAFile, filepath.Join(dir, "ca.pem")},
		{"credential.secret", string(c.Tenants[0].Credential.Secret), "env:SECRET"},
		{"listen", c.Listen, config.DefaultListen},
	} {
		if p.got != p.want {
			t.Errorf("%s is %q, want %q", p.name, p.got, p.want)
		}
	}
	if c.Tenants[0].Acts() {
		t.Error("a tenant without a mode acts")
	}
	if d := c.Tenants[0].Connectors.WithDefaults(); d.RiskDetections != 15*time.Second || d.WorkloadDetections != 30*time.Second {
		t.Errorf("default intervals: %+v", d)
	}
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	const some = good + `questions:
  key: file:question.key
  url: https://ask.corp.example/
  channels:
    - {id: phone, kind: webhook, reaches: person, url: file:url, secret: file:secret}
    - {id: boss, kind: mail, reaches: manager, smtp: {address: "mail.example:587", from: a@corp.example}}
`
	path := write(t, some)
	c, err := config.Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if q := c.Questions; string(q.Key) != "file:"+filepath.Join(dir, "question.key") || string(q.Channels[0].URL) != "file:"+filepath.Join(dir, "url") || c.Base() != "https://ask.corp.example" || len(q.Settings().Channels) != 2 {
		t.Errorf("%+v", q)
	}
	for _, content := range []string{"", "short", strings.Repeat("k", 32)} {
		if err := os.WriteFile(filepath.Join(dir, "question.key"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if key, err := c.Questions.SecretKey(); (err == nil) != (len(content) == 32) || err == nil && string(key) != content {
			t.Errorf("a key of %d: %v", len(content), err)
		}
	}
	for says, change := range map[string][2]string{
		"questions.key: missing":                       {"  key: file:question.key\n", ""},
		"questions.url: missing":                       {"  url: https://ask.corp.example/\n", ""},
		"is no https address":                          {"https://ask", "http://ask"},
		`"maybe" is not one of`:                        {"  channels", "  believe: maybe\n  channels"},
		"questions.per_day: -1 is negative":            {"  channels", "  per_day: -1\n  channels"},
		"questions.channels[1].id: \"phone\" is taken": {"id: boss", "id: phone"},
		"questions.channels[0].reaches":                {"reaches: person", "reaches: everybody"},
		"questions.channels[0].secret: is missing":     {", secret: file:secret", ""},
		"questions.channels[1].kind":                   {"kind: mail", "kind: slack"},
		"smtp.to: is missing":                          {"reaches: manager", "reaches: person"},
		"smtp.to: does not belong to reaches: manager": {"from: a@corp.example", "from: a@corp.example, to: [b@corp.example]"},
	} {
		_, err := config.Load(write(t, strings.Replace(some, change[0], change[1], 1)), nil)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
}

func TestAbsolutePathsStay(t *testing.T) {
	t.Parallel()
	c, err := config.Load(write(t, strings.NewReplacer("sqlite:cordon.db", "sqlite:/var/cordon.db", "ca.pem", "/etc/ca.pem").Replace(good)), nil)
	if err != nil || c.Store != "sqlite:/var/cordon.db" || c.Tenants[0].CAFile != "/etc/ca.pem" {
		t.Errorf("%v: %s, %s", err, c.Store, c.Tenants[0].CAFile)
	}
}

func TestEnvironmentOverrides(t *testing.T) {
	t.Parallel()
	path := write(t, good)
	c, err := config.Load(path, []string{
		"CORDON__STORE=postgres://db.corp.example/cordon", "CORDON__TENANTS__0__CLIENT_ID=33333333-3333-4333-8333-333333333333",
		"CORDON__TENANTS__0__CONNECTORS__ALERTS=-1s", "CORDON__LOG__LEVEL=debug", "CORDON__TENANTS__0__LIMITS__ACCOUNTS_PER_HOUR=7",
		"CORDON_TOKEN=not an override", "OTHER=x",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Store, c.Tenants[0].ClientID, c.Tenants[0].Connectors.Alerts, c.Log.Level, c.Tenants[0].Limits.AccountsPerHour}
	want := []any{"postgres://db.corp.example/cordon", "33333333-3333-4333-8333-333333333333", -time.Second, "debug", 7}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for override, says := range map[string]string{
		"CORDON__STROE=sqlite:x":                       "unknown key stroe",
		"CORDON__TENANTS__1__MODE=act":                 "the list has 1 entries",
		"CORDON__TENANTS__x__MODE=act":                 `"x" is none of them`,
		"CORDON__STORE__PATH=x":                        "inside a single value",
		"CORDON__OPERATORS=x":                          "not lists or sections",
		"CORDON__TENANTS__0__CONNECTORS__ALERTS=often": "a duration such as 15s",
	} {
		_, err := config.Load(path, []string{override})
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "CORDON__") {
			t.Errorf("%s: %v, want it to name the variable and say %q", override, err, says)
		}
	}
}

func TestAllMistakesAtOnceWithTheirPlaces(t *testing.T) {
	t.Parallel()
	path := write(t, `store: mysql://db
listen: 0.0.0.0:80
log:
  level: loud
audit:
  key: file:audit.key
operators:
  - id: Avery Brook
    roles: [king]
  - id: avery
tenants:
  - tenant_id: corp
    client_id: 22222222-2222-4222-8222-222222222222
    mode: maybe
    connectors:
      alerts: 10ms
    protected:
      - id: a
        upn: b
    limits:
      accounts_per_hour: -1
      reserve: 2
    directories:
      - domain: CORP
    event_hubs:
      - hubs: [a]
        expect: -1s
    syslog:
      - listen: 0.0.0.0:514
    senders:
      - name: A
      - {name: b, secret: "plain text"}
`)
	_, err := config.Load(path, nil)
	if !errors.Is(err, fault.Invalid) {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1: store: ", "2: listen: 0.0.0.0:80 is not loopback", `4: log.level: "loud"`, `8: operators[0].id: "Avery Brook"`,
		`9: operators[0].roles[0]: no role "king"`, "10: operators[1].roles: none", "12: tenants[0].tenant_id: ", "12: tenants[0].credential: missing",
		`14: tenants[0].mode: "maybe"`, "16: tenants[0].connectors.alerts: 10ms", "18: tenants[0].protected[0]: give exactly one",
		"18: tenants[0].protected[0].reason: missing", "21: tenants[0].limits.accounts_per_hour: -1", "22: tenants[0].limits.reserve: 2",
		"26: tenants[0].event_hubs[0].connection_string: missing", "27: tenants[0].event_hubs[0].expect: ", "29: tenants[0].syslog[0].allow: none",
		"31: tenants[0].senders[0].name: ", "31: tenants[0].senders[0].secret: missing", "32: tenants[0].senders[1].secret: ",
		`24: tenants[0].directories[0].domain: "CORP" is not the DNS name of a domain`, "24: tenants[0].directories[0].bind.upn: missing", "24: tenants[0].directories[0].bind.password: missing",
	} {
		if !strings.Contains(err.Error(), path+":"+want) {
			t.Errorf("missing %q in:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 23 {
		t.Errorf("%d mistakes, want 23:\n%v", n, err)
	}
}

func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]struct{ text, says string }{
		"broken YAML":      {"store: sqlite:x\n  listen: y\n", ":2: mapping values are not allowed"},
		"tabs":             {"store:\n\tx: y\n", ":2: "},
		"unknown key":      {good + "listn: x\n", ":15: unknown key listn"},
		"unknown deep key": {good + "      secrte: env:X\n", ":15: unknown key secrte"},
		"twice":            {good + "store: sqlite:y\n", ":15: mapping key \"store\" already defined at line 1"},
		"wrong types":      {good + "    connectors: {alerts: often}\n    limits: {accounts_per_hour: some}\n    name: [a]\n", ":15: `often` is not what belongs here: a duration such as 15s"},
		"a list":           {"- store\n", ":1: not a mapping"},
		"a word":           {"store\n", ":1: not a mapping"},
		"two documents":    {good + "---\nstore: x\n", "a second document begins here"},
		"too large":        {strings.Repeat("#", 5<<20), "larger than"},
		"binary":           {"\x00\x01\x02", "control characters are not allowed"},
		"empty":            {"", "store: missing"},
		"an alias bomb":    {"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n", "unknown key"},
	} {
		path := write(t, k.text)
		_, err := config.Load(path, nil)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), k.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v\nwant the path and %q", name, err, k.says)
		}
	}
	if _, err := config.Load(filepath.Join(t.TempDir(), "none.yaml"), nil); !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestInlineSecretsAreRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-hunter2-hunter2-hunter2"
	for _, old := range []string{"file:audit.key", "file:avery.token", "env:SECRET"} {
		_, err := config.Load(write(t, strings.Replace(good, old, secret, 1)), nil)
		if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "given by reference") {
			t.Errorf("%s inline: %v", old, err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s inline: the error shows the secret: %v", old, err)
		}
	}
	_, err := config.Load(write(t, strings.Replace(good, "sqlite:cordon.db", "mysql://cordon:"+secret+"@db/x", 1)), nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a store with a password: %v", err)
	}
}

// example returns cordon.example.yaml as it is, and with every key it comments
// out set.
func example(t *testing.T) (as, all string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "cordon.example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	as = string(b)
	all = regexp.MustCompile(`(?m)^(?:    )?[a-z_]+: \[\]\n`).ReplaceAllString(as, "")
	all = regexp.MustCompile(`(?m)^#((?:  )*(?:- )?[a-z_]+:)`).ReplaceAllString(all, "$1")
	all = regexp.MustCompile(`(?m)^( {4,})#((?:  - |    |      )?[a-z_]+:)`).ReplaceAllString(all, "$1$2")
	all = regexp.MustCompile(`(?m)^( {4,})#( +)#([a-z_]+:)`).ReplaceAllString(all, "$1$2$3")
	return as, all
}

func TestExample(t *testing.T) {
	t.Parallel()
	as, all := example(t)
	c, err := config.Parse("cordon.example.yaml", []byte(as), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Errorf("the example has mistakes:\n%v", err)
	}
	if _, err := config.Parse("cordon.example.yaml", []byte(all), nil); err != nil {
		t.Errorf("with every key set:\n%v", err)
	}
	var set map[string]any
	if err := yaml.Unmarshal([]byte(all), &set); err != nil {
		t.Fatal(err)
	}
	for _, key := range keys(reflect.TypeFor[config.Config](), "") {
		if !has(set, strings.Split(key, ".")) {
			t.Errorf("cordon.example.yaml does not show %s", key)
		}
	}
}

// keys lists the keys of a struct, deep; those of list entries stand under the
// list.
func keys(t reflect.Type, prefix string) []string {
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return []string{strings.TrimSuffix(prefix, ".")}
	}
	var out []string
	for n := range t.NumField() {
		f := t.Field(n)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if options == "inline" {
			out = append(out, keys(f.Type, prefix)...)
			continue
		}
		out = append(out, keys(f.Type, prefix+name+".")...)
	}
	return out
}

func has(v any, path []string) bool {
	if list, ok := v.([]any); ok {
		for _, e := range list {
			if len(path) == 0 || has(e, path) {
				return true
			}
		}
		return false
	}
	if len(path) == 0 {
		return v != nil
	}
	m, _ := v.(map[string]any)
	return m[path[0]] != nil && has(m[path[0]], path[1:])
}

func TestDefaultsInTheExample(t *testing.T) {
	t.Parallel()
	as, _ := example(t)
	c, err := config.Parse("cordon.example.yaml", []byte(as), nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(config.Connectors{}.WithDefaults(), c.Tenants[0].Connectors); d != "" {
		t.Errorf("the example's intervals are not the defaults it says they are: %s", d)
	}
	if d := cmp.Diff(dispatch.DefaultLimits(), c.Tenants[0].Limits); d != "" {
		t.Errorf("the example's limits are not the defaults it says they are: %s", d)
	}
	if d := cmp.Diff(config.Retention{}.WithDefaults(), c.Retention); d != "" {
		t.Errorf("the example's retention is not the default it says it is: %s", d)
	}
	if c.Listen != config.DefaultListen {
		t.Errorf("listen is %s, the default %s", c.Listen, config.DefaultListen)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good), "CORDON__STORE=sqlite:y")
	f.Add([]byte("tenants: [{limits: {reserve: .inf}, connectors: {alerts: 9e9h}}]"), "CORDON__TENANTS__0__MODE=act")
	f.Add([]byte("a: &a [*a]"), "CORDON__A__0=x")
	f.Fuzz(func(t *testing.T, text []byte, env string) {
		c, err := config.Parse("x/cordon.yaml", text, []string{env})
		if err != nil {
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("an error without a kind: %v", err)
			}
			return
		}
		if err := c.Check(); err != nil && !errors.Is(err, fault.Invalid) {
			t.Errorf("an error without a kind: %v", err)
		}
		for _, tenant := range c.Tenants {
			tenant.Policy()
			tenant.Connectors.WithDefaults()
		}
	})
}
