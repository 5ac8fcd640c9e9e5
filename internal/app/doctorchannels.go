package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/push"
	"github.com/seed-f47efad2/cordon/internal/secret"
)

// examineChannels asks whether what is to be pushed can be received.
func examineChannels(ctx context.Context, t config.Tenant) []Check {
	var out []Check
	for _, h := range t.EventHubs {
		c := Check{Name: string(h.Feed()), Health: Healthy, Text: "the namespace answers and has the hubs"}
		if err := h.Reach(ctx); err != nil {
			c.Health, c.Text, c.Away = Broken, err.Error(), errors.Is(err, fault.Unavailable)
			c.Fix = "see the text; port 9093 must be open, and the connection string needs the right to Listen"
		}
		out = append(out, c)
	}
	for _, s := range t.Syslog {
		o, err := s.Options()
		c := Check{Name: string(s.Feed()), Health: Healthy, Text: fmt.Sprintf("%s on %s", o.Protocol, o.Address)}
		if err != nil {
			c.Health, c.Text, c.Fix = Broken, err.Error(), "correct the certificate's files"
		}
		out = append(out, c)
	}
	for _, s := range t.Senders {
		c := Check{Name: "push." + s.Name, Health: Healthy, Text: "its secret can be read"}
		for _, ref := range []secret.Ref{s.Secret, s.OldSecret} {
			if ref == "" {
				continue
			}
			v, err := ref.Read()
			if err == nil && len(v) < push.MinSecret {
				err = fault.Errorf(fault.Invalid, "secret %s: under %d characters", ref, push.MinSecret)
			}
			if err != nil {
				c.Health, c.Text, c.Fix = Missing, err.Error(), "put the sender's secret there, such as that of `openssl rand -hex 32`"
			}
		}
		out = append(out, c)
	}
	for n := range out {
		out[n].Tenant = cmp.Or(t.Name, t.TenantID)
	}
	return out
}
