package directory_test

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/directory"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

func good() directory.Config {
	return directory.Config{Domain: "corp.example", DCs: []string{"dc1.corp.example", "dc2.corp.example:3636"},
		Bind: directory.Bind{UPN: "svc@corp.example", Password: "env:AD_PASSWORD"}}
}

func TestCheckFindsEveryMistake(t *testing.T) {
	t.Parallel()
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*directory.Config){
		"domain: missing":              func(c *directory.Config) { c.Domain = "" },
		"is not the DNS name":          func(c *directory.Config) { c.Domain = "CORP" },
		"not the name of a controller": func(c *directory.Config) { c.Addresses = map[string]string{"192.0.2.1": "192.0.2.1"} },
		"is not an address":            func(c *directory.Config) { c.Addresses = map[string]string{"dc1.corp.example": "dc1"} },
		"keytab and password":          func(c *directory.Config) { c.Bind.Keytab, c.Bind.Kerberos = "svc.keytab", true },
		"a keytab is for Kerberos":     func(c *directory.Config) { c.Bind.Keytab, c.Bind.Password = "svc.keytab", "" },
		"an address: give the name":    func(c *directory.Config) { c.DCs = []string{"192.0.2.1"} },
		"the port is not one":          func(c *directory.Config) { c.DCs = []string{"dc1.corp.example:99999"} },
		"is listed twice":              func(c *directory.Config) { c.DCs = []string{"DC1.corp.example.", "dc1.corp.example"} },
		"not a host name":              func(c *directory.Config) { c.DCs = []string{"dc1 corp"} },
		"base_dn: ":                    func(c *directory.Config) { c.BaseDN = "corp" },
		"bind.upn: missing: the acc":   func(c *directory.Config) { c.Bind.UPN = "" },
		"bind.dn: dn and upn":          func(c *directory.Config) { c.Bind.DN = "CN=a,DC=b" },
		"bind.upn: missing: Kerberos":  func(c *directory.Config) { c.Bind = directory.Bind{DN: "CN=a,DC=b", Kerberos: true, Password: "env:A"} },
		"is not of the form":           func(c *directory.Config) { c.Bind.UPN = "svc" },
		"bind.password: missing":       func(c *directory.Config) { c.Bind.Password = "" },
		"inline value is refused":      func(c *directory.Config) { c.Bind.Password = "hunter2-hunter2" },
		"scope.ou: ":                   func(c *directory.Config) { c.Scope.Units = []string{"OU=Staff,DC=other,DC=example"} },
		"scope.group_ou: ":             func(c *directory.Config) { c.Scope.Groups = []string{"Groups"} },
		"bind.kdcs: ":                  func(c *directory.Config) { c.Bind.KDCs = []string{"a b = {"} },
	} {
		c := good()
		change(&c)
		err := c.Check()
		if err == nil || !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q said, got %v", want, err)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows an inline password: %v", err)
		}
		if _, err := directory.New(c, directory.Options{}); err == nil {
			t.Errorf("%s: New takes it", want)
		}
	}
}

// The pairs are those of MS-DTYP 2.4.2.1 and of well-known accounts.
func TestSIDs(t *testing.T) {
	t.Parallel()
	for text, bytes := range map[string]string{
		"S-1-5-32-544":         "01020000000000052000000020020000",
		"S-1-5-21-1-2-3-500":   "010500000000000515000000010000000200000003000000f4010000",
		"S-1-0-0":              "010100000000000000000000",
		"S-1-5":                "0100000000000005",
		"S-1-0x00ffffffffff-1": "010100ffffffffff01000000",
	} {
		b, err := directory.SIDBytes(text)
		if err != nil || hex.EncodeToString(b) != bytes {
			t.Errorf("%s: %x, %v; want %s", text, b, err, bytes)
		}
		if s, err := directory.SIDText(b); err != nil || s != text {
			t.Errorf("%x: %s, %v; want %s", b, s, err, text)
		}
	}
	for _, text := range []string{"", "S-1", "S-2-5-1", "S-1-5-", "S-1-5-x", "S-1-5-4294967296", "S-1-5--1", "S-1-5-+1", "S-1-5-01", "S-1-281474976710656", "S-1-5" + strings.Repeat("-1", 16)} {
		if b, err := directory.SIDBytes(text); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %x, %v; want invalid", text, b, err)
		}
	}
}

func FuzzSID(f *testing.F) {
	f.Add([]byte{1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0}, "S-1-5-18")
	f.Fuzz(func(t *testing.T, b []byte, s string) {
		if text, err := directory.SIDText(b); err == nil {
			if back, err := directory.SIDBytes(text); err != nil || string(back) != string(b) {
				t.Errorf("%x became %s became %x (%v)", b, text, back, err)
			}
		}
		if bytes, err := directory.SIDBytes(s); err == nil {
			if _, err := directory.SIDText(bytes); err != nil {
				t.Errorf("%q became %x, which is no SID: %v", s, bytes, err)
			}
		}
		if bytes, err := directory.GUIDBytes(s); err == nil {
			if text, err := directory.GUIDText(bytes); err != nil || !strings.EqualFold(strings.Trim(strings.TrimSpace(s), "{}"), text) {
				t.Errorf("%q became %s (%v)", s, text, err)
			}
		}
	})
}

func TestGUIDs(t *testing.T) {
	t.Parallel()
	const text, bytes = "00112233-4455-6677-8899-aabbccddeeff", "33221100554477668899aabbccddeeff"
	for _, s := range []string{text, "{" + strings.ToUpper(text) + "}"} {
		b, err := directory.GUIDBytes(s)
		if err != nil || hex.EncodeToString(b) != bytes {
			t.Errorf("%s: %x, %v", s, b, err)
		}
		if back, err := directory.GUIDText(b); err != nil || back != text {
			t.Errorf("%x: %s, %v", b, back, err)
		}
	}
	for _, s := range []string{"", text[1:], text + "0", strings.ReplaceAll(text, "-", "x"), "{" + text, "zz112233-4455-6677-8899-aabbccddeeff"} {
		if _, err := directory.GUIDBytes(s); !errors.Is(err, fault.Invalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestPassword(t *testing.T) {
	t.Parallel()
	if got := hex.EncodeToString([]byte(directory.Password([]byte("aé")))); got != "22006100e9002200" {
		t.Errorf("%s", got)
	}
}
