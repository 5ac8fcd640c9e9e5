package app

import (
	"context"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/notify"
)

// tell passes on what happens in a tenant to those whom the configuration names.
// Who dispatches for the tenant also tells: the others stand by.
func (a *App) tell(ctx context.Context, t *tenant) {
	pump := &notify.Pump{
		Store: a.db.Notify(), Home: a.tenants[0].key, Now: a.opts.Now, Log: a.log, Link: a.caseLink,
		Receivers: func() []notify.Receiver { return a.settings.Load().config.Notify },
	}
	every(ctx, time.Second, func() {
		if _, owner := t.dispatcher.Lease(); !owner || len(a.settings.Load().config.Notify) == 0 {
			return
		}
		if err := pump.Pass(ctx, t.key); err != nil && ctx.Err() == nil {
			a.log.Error("messages could not be passed on; it is tried again", "tenant", t.key, "err", err)
		}
	})
}

// examineReceivers says which of those who are to be told could be. Nobody is
// contacted: a receiver would take a trial for news.
func examineReceivers(c config.Config) (out []Check) {
	for _, r := range c.Notify {
		check := Check{Name: "notify " + r.ID, Health: Healthy, Text: string(r.Kind) + ": its address and secrets can be read"}
		if err := r.Ready(); err != nil {
			check.Health, check.Text, check.Fix = Broken, err.Error(), "correct what the setting refers to; what happens meanwhile is told afterwards"
		}
		out = append(out, check)
	}
	return out
}

// caseLink is where operators see the case; "" when nobody said how they reach the
// console.
func (a *App) caseLink(_ identity.Tenant, id casefile.ID) string {
	base := a.settings.Load().config.PublicURL
	if base == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/cases/" + string(id)
}
