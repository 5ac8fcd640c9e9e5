package app

import (
	"context"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/casefile"
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

// caseLink is where operators see the case; "" when nobody said how they reach the
// console.
func (a *App) caseLink(_ identity.Tenant, id casefile.ID) string {
	base := a.settings.Load().config.PublicURL
	if base == "" {
		return ""
	}
	return strings.TrimRight(base, "/") + "/cases/" + string(id)
}
