package app

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// A way is down when everything that stands for it is silent; what is not known of a
// way does not close it.
func TestOutages(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 2, 0, 0, 0, time.UTC)
	dc := func(name, domain string, silent bool) connector.FeedState {
		return connector.FeedState{Tenant: "t", Stream: connector.Name("activedirectory." + domain + "/" + name), Source: controllersOf(domain), Acts: domain, Silent: silent}
	}
	sensor := func(name, domain string, silent bool) connector.FeedState {
		return connector.FeedState{Tenant: "t", Stream: connector.Name("defender.sensors/" + name), Source: "defender.sensors", Acts: domain, Silent: silent}
	}
	domain := connector.FeedState{Tenant: "t", Stream: controllersOf("corp.example"), Success: at}
	lost := domain
	lost.Failure = "no controller can be asked"
	sensors := connector.FeedState{Tenant: "t", Stream: "defender.sensors", Success: at}
	unheard := sensors
	unheard.Silent = true
	for name, c := range map[string]struct {
		states []connector.FeedState
		want   string // domain by way, sorted as they come
	}{
		"nothing known":               {nil, ""},
		"all well":                    {[]connector.FeedState{domain, dc("dc1", "corp.example", false), sensors, sensor("dc1", "corp.example", false)}, ""},
		"one controller of two":       {[]connector.FeedState{domain, dc("dc1", "corp.example", true), dc("dc2", "corp.example", false)}, ""},
		"every controller":            {[]connector.FeedState{domain, dc("dc1", "corp.example", true), dc("dc2", "corp.example", true)}, "activeDirectory corp.example: no controller of corp.example answers"},
		"nobody lists controllers":    {[]connector.FeedState{lost}, "activeDirectory corp.example: no controller of corp.example answers"},
		"another domain's":            {[]connector.FeedState{domain, dc("dc1", "corp.example", false), dc("dc1", "other.example", true)}, ""},
		"the last sensor":             {[]connector.FeedState{sensors, sensor("dc1", "corp.example", true), sensor("adfs", "", false)}, "entraID corp.example: no sensor of Defender for Identity on a controller of corp.example is up; entraID : no sensor of Defender for Identity on a controller is up"},
		"sensors of another domain":   {[]connector.FeedState{sensors, sensor("dc9", "other.example", false)}, "entraID corp.example: Defender for Identity has no sensor on a controller of corp.example"},
		"a sensor of no named domain": {[]connector.FeedState{sensors, sensor("dc9", connector.AnyDomain, false)}, ""},
		"sensors were never read":     {[]connector.FeedState{{Tenant: "t", Stream: "defender.sensors"}}, ""},
		"sensors are not read now":    {[]connector.FeedState{unheard, sensor("dc1", "corp.example", true)}, ""},
		"another tenant's":            {[]connector.FeedState{{Tenant: "u", Stream: "defender.sensors", Success: at}}, ""},
	} {
		var got []string
		for _, o := range outages("t", []string{"corp.example"}, c.states) {
			if o.Provider != identity.ActiveDirectory {
				t.Errorf("%s: %+v", name, o)
			}
			got = append(got, string(o.Via)+" "+o.Domain+": "+o.Why)
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: %q, want %q", name, strings.Join(got, "; "), c.want)
		}
	}
}

// A domain of which no controller can be asked is a feed that fails.
func TestDomainWatch(t *testing.T) { // Setenv forbids Parallel
	d := domainWatch{domain: unreachable(t).clients[0]}
	if d.Name() != "activedirectory.corp.example" {
		t.Errorf("it is called %s", d.Name())
	}
	for page, err := range d.Pages(t.Context(), "") {
		if !errors.Is(err, fault.Unavailable) || len(page.Feeds) > 0 {
			t.Errorf("%+v, %v", page, err)
		}
	}
}
