package graph_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/graph"
	"github.com/seed-f47efad2/cordon/internal/secret/secrettest"
)

func TestConfigFromYAML(t *testing.T) {
	t.Parallel()
	const text = `
tenant_id: 11111111-2222-4333-8444-555555555555
client_id: aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee
cloud: usgov
ca_file: /etc/cordon/ca.pem
credential:
  certificate_file: /etc/cordon/cordon.pfx
  certificate_password: env:CORDON_CERTIFICATE_PASSWORD
`
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	var got graph.Config
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := graph.Config{TenantID: tenantID, ClientID: clientID, Cloud: "usgov", CAFile: "/etc/cordon/ca.pem",
		Credential: graph.Credential{CertificateFile: "/etc/cordon/cordon.pfx", CertificatePassword: "env:CORDON_CERTIFICATE_PASSWORD"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := got.Check(); err != nil {
		t.Error(err) // although neither file nor variable exists here
	}
}

func configWith(change func(*graph.Config)) graph.Config {
	c := graph.Config{TenantID: tenantID, ClientID: clientID, Credential: graph.Credential{Secret: "env:CORDON_SECRET"}}
	change(&c)
	return c
}

func TestConfigsThatAreRight(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*graph.Config){
		"least":     func(c *graph.Config) {},
		"a domain":  func(c *graph.Config) { c.TenantID = "corp.cordon.example" },
		"federated": func(c *graph.Config) { c.Credential = graph.Credential{FederatedTokenFile: "/var/run/token"} },
		"managed": func(c *graph.Config) {
			c.ClientID, c.Credential = "", graph.Credential{ManagedIdentity: "system"}
		},
		"the lab": func(c *graph.Config) { c.GraphURL, c.LoginURL = "https://127.0.0.1:8443", "https://127.0.0.1:8443/" },
		"managed, own Graph": func(c *graph.Config) {
			c.GraphURL, c.Credential = "https://graph.cordon.example", graph.Credential{ManagedIdentity: clientID}
		},
	} {
		if err := configWith(change).Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheckFindsEveryMistake(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*graph.Config)
		says   []string // one per mistake
	}{
		"nothing at all": {func(c *graph.Config) { *c = graph.Config{} }, []string{"tenant_id: missing", "client_id: missing", "credential: missing"}},
		"everything wrong": {func(c *graph.Config) {
			*c = graph.Config{TenantID: "common", ClientID: "cordon", Cloud: "moon", GraphURL: "http://graph.cordon.example", LoginURL: "https://login.cordon.example/tenant",
				Credential: graph.Credential{Secret: "an-inline-secret", CertificatePassword: "another-inline-one", ManagedIdentity: "yes"}}
		}, []string{`tenant_id: "common"`, `client_id: "cordon"`, `cloud: no cloud "moon"; known are global, usgov, dod, china, france, germany, singapore`,
			`graph_url: "http://`, `login_url: "https://login`, "credential: secret and managed_identity", "credential.secret: a secret", "credential.certificate_password: a secret",
			"certificate_password: given without", `managed_identity: "yes"`}},
		"one URL of two":      {func(c *graph.Config) { c.LoginURL = "https://login.cordon.example" }, []string{"graph_url: missing"}},
		"the other of two":    {func(c *graph.Config) { c.GraphURL = "https://graph.cordon.example" }, []string{"login_url: missing"}},
		"a tenant with marks": {func(c *graph.Config) { c.TenantID = "corp.example/../x" }, []string{"tenant_id: "}},
		"three credentials": {func(c *graph.Config) {
			c.Credential.CertificateFile, c.Credential.FederatedTokenFile = "a", "b"
		}, []string{"secret and certificate_file and federated_token_file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := configWith(tc.change)
			err := cfg.Check()
			if !errors.Is(err, fault.Invalid) {
				t.Fatalf("%v, want invalid", err)
			}
			if n := len(strings.Split(err.Error(), "\n")); n != len(tc.says) {
				t.Errorf("%d mistakes found, want %d:\n%v", n, len(tc.says), err)
			}
			for _, w := range tc.says {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("it does not say %q:\n%v", w, err)
				}
			}
			for _, s := range []string{"an-inline-secret", "another-inline-one"} {
				secrettest.Absent(t, s, err, cfg)
			}
			if _, err := graph.Open(cfg, graph.Options{}); !errors.Is(err, fault.Invalid) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

func TestClouds(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range graph.Clouds() {
		if seen[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		seen[c.Name] = true
		for _, s := range []string{c.LoginURL, c.GraphURL} {
			if u, err := url.Parse(s); err != nil || u.Scheme != "https" || u.Path != "" {
				t.Errorf("%s: %q is no https host", c.Name, s)
			}
		}
		got, ok := graph.CloudNamed(c.Name)
		if !ok || got.GraphURL != c.GraphURL {
			t.Errorf("%s is not found by its name", c.Name)
		}
		cfg := configWith(func(x *graph.Config) { x.Cloud = c.Name })
		hosts, err := cfg.Hosts()
		if err != nil || len(hosts) < 2 || "https://"+hosts[0] != c.GraphURL || "https://"+hosts[1] != c.LoginURL {
			t.Errorf("%s: hosts %v, %v", c.Name, hosts, err)
		}
		if _, err := graph.Open(cfg, graph.Options{}); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	if c, ok := graph.CloudNamed(""); !ok || c.Name != "global" {
		t.Errorf("no name is %v", c)
	}
	managed := graph.Config{Credential: graph.Credential{ManagedIdentity: "system"}}
	if hosts, err := managed.Hosts(); err != nil || len(hosts) != 1 {
		t.Errorf("a managed identity speaks to %v, %v", hosts, err)
	}
}
