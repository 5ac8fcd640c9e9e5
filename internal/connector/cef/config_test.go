package cef

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]Config{
		"":                                    {Listen: "127.0.0.1:514"},
		"protocol: ":                          {Listen: "127.0.0.1:514", Protocol: "sctp"},
		"cert_file: ":                         {Listen: "127.0.0.1:514", Protocol: "tls"},
		"protocol: certificates are for tls":  {Listen: "127.0.0.1:514", CertFile: "x"},
		"listen: ":                            {Listen: "514"},
		"allow: none, and 0.0.0.0:514 is not": {Listen: "0.0.0.0:514"},
		"allow: \"dc1\" is neither":           {Listen: "127.0.0.1:514", Allow: []string{"dc1"}},
	} {
		err := c.Check()
		if (err == nil) != (want == "") || err != nil && (!errors.Is(err, fault.Invalid) || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%+v: %v, want %q", c, err, want)
		}
	}
	c := Config{Listen: "0.0.0.0:6514", Protocol: "udp", Allow: []string{"192.0.2.7", "2001:db8::/32"}}
	o, err := c.Options()
	if err != nil || o.Name != "syslog.udp-6514" || len(o.Allow) != 2 || o.Allow[0].String() != "192.0.2.7/32" {
		t.Errorf("%+v, %v", o, err)
	}
	for expect, want := range map[time.Duration]time.Duration{0: 24 * time.Hour, -1: 0, time.Hour: time.Hour} {
		if got := (Config{Expect: expect}).Interval(); got != want {
			t.Errorf("expect %v is every %v, want %v", expect, got, want)
		}
	}
}
