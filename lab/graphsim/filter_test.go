package graphsim

import (
	"strings"
	"testing"
)

func person() object {
	return object{
		"id": "6f1ce5a2-1111-4222-8333-444455556666", "displayName": "Ana O'Neil", "accountEnabled": true,
		"mail": nil, "riskLevel": "high", "createdDateTime": "2026-03-01T10:00:00.1234567Z", "openHealthIssuesCount": 3,
		"location":    map[string]any{"city": "Lyon"},
		"domainNames": []any{"a.corp.example", "b.corp.example"},
		"methods":     []any{map[string]any{"kind": "phone"}, map[string]any{"kind": "fido2"}},
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"displayName eq 'ana o''neil'":                                true,
		"displayName ne 'Bob'":                                        true,
		"accountEnabled":                                              true,
		"accountEnabled eq false":                                     false,
		"not accountEnabled":                                          false,
		"not (accountEnabled eq false)":                               true,
		"mail eq null":                                                true,
		"mail ne null":                                                false,
		"surname eq null":                                             true,
		"mail gt 'a'":                                                 false,
		"riskLevel eq microsoft.graph.riskLevel'HIGH'":                true,
		"riskLevel in ('low','high')":                                 true,
		"riskLevel in ('low')":                                        false,
		"createdDateTime ge 2026-03-01T10:00:00Z":                     true,
		"createdDateTime ge 2026-03-01T12:00:00+02:00":                true,
		"createdDateTime gt 2026-03-01T10:00:00.1234567Z":             false,
		"createdDateTime le 2026-03-01T10:00:00.1234567Z":             true,
		"createdDateTime lt 2026-03-01":                               false,
		"openHealthIssuesCount ge 3 and openHealthIssuesCount lt 4.5": true,
		"openHealthIssuesCount eq -3":                                 false,
		"location/city eq 'Lyon'":                                     true,
		"location/city/name eq 'Lyon'":                                false,
		"startswith(displayName,'ANA')":                               true,
		"startswith(displayName,'ana') eq false":                      false,
		"endswith(displayName,'Neil') eq true":                        true,
		"contains(mail,'x')":                                          false,
		"domainNames/any(s:endswith(s,'corp.example'))":               true,
		"domainNames/all(s:startswith(s,'a'))":                        false,
		"domainNames/any()":                                           true,
		"domainNames/$count eq 2":                                     true,
		"methods/any(m:m/kind eq 'fido2')":                            true,
		"methods/any(m:m/kind eq 'sms' or m/kind eq 'phone')":         true,
		"methods/any(m:domainNames/any(d:startswith(d,'b')))":         true,
		// "and" binds tighter than "or".
		"accountEnabled eq true or mail eq 'x' and mail eq 'y'":   true,
		"(accountEnabled eq true or mail eq 'x') and mail eq 'y'": false,
		"id eq 6f1ce5a2-1111-4222-8333-444455556666":              true,
		"ID eq '6F1CE5A2-1111-4222-8333-444455556666'":            false, // the first name is exact; endpoints refuse it before
	} {
		f, err := parseFilter(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := f.match(person()); got != want {
			t.Errorf("%s: got %v, want %v", text, got, want)
		}
	}
}

func TestFilterRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                           "ends where a term was expected",
		"displayName eq":                             "ends where a term was expected",
		"displayName eq Bob":                         "needs single quotes",
		"displayName like 'Bob'":                     "not an operator",
		"displayName eq 'Bob":                        "not closed",
		"(displayName eq 'Bob'":                      "')' is missing",
		"displayName eq 'Bob')":                      "syntax error at position 20",
		"displayName eq 'a' 'b'":                     "syntax error",
		"tolower(displayName) eq 'bob'":              "not a function",
		"riskLevel in ('a',)":                        "unexpected ')'",
		"startswith(displayName)":                    "unexpected ')'",
		"startswith(displayName,1)":                  "must be a string",
		"a/any(x:b/any(x:x eq 1))":                   "used twice",
		"a//b eq 1":                                  "not a property path",
		"a eq 1 and":                                 "ends where a term was expected",
		"a eq \"b\"":                                 "not allowed",
		"a eq 0x10":                                  "not a value",
		strings.Repeat("(", 100) + "a eq 1":          "nested deeper",
		strings.Repeat("not ", 100) + "a":            "nested deeper",
		"a in (" + strings.Repeat("1,", 3000):        "more than",
		"a eq '" + strings.Repeat("x", maxFilterLen): "longer than",
		"a eq '\xff'":                                "UTF-8",
	} {
		_, err := parseFilter(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want …%s…", text, err, want)
		}
	}
}

// What the parser lets through can be evaluated, and its list of uses names
// every operator that an endpoint must check.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{
		"displayName eq 'ana'", "not (a/b ge 2026-01-01T00:00:00Z) or c in ('x',null,true,1.5)",
		"domainNames/any(s:endswith(s,'x'))", "microsoft.graph.riskLevel'high' eq riskLevel", "a eq x.y'z' and (b)", "domainNames/$count gt 1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		flt, err := parseFilter(text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "Invalid filter clause: ") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if len(flt.ops) == 0 {
			t.Fatalf("%q uses nothing", text)
		}
		first := flt.match(person())
		if first != flt.match(person()) {
			t.Fatalf("%q gives two answers", text)
		}
	})
}
