package app

import (
	"context"
	"time"

	"github.com/seed-f47efad2/cordon/internal/store"
)

const (
	pruneEvery = time.Hour
	pruneAtOne = 500 // rows of one kind in one transaction
	prunePause = 100 * time.Millisecond
)

// prune removes what is older than the configuration keeps, a little at a time, so
// that nobody waits for it.
func (a *App) prune(ctx context.Context) {
	every(ctx, pruneEvery, func() {
		total := 0
		for ctx.Err() == nil {
			p, err := a.db.Prune(ctx, a.cutoffs(), pruneAtOne)
			if err != nil {
				if ctx.Err() == nil {
					a.log.Error("old rows could not be removed; it is tried again in an hour", "err", err)
				}
				return
			}
			if total += p.All(); p.All() == 0 {
				break
			}
			if !sleep(ctx, prunePause) {
				return
			}
		}
		if total > 0 {
			a.log.Info("old rows were removed", "rows", total)
		}
	})
}

// cutoffs are what the retention in force means now.
func (a *App) cutoffs() store.Cutoffs {
	keep, now := a.settings.Load().config.Retention.WithDefaults(), a.opts.Now()
	before := func(d time.Duration) time.Time {
		if d < 0 {
			return time.Time{}
		}
		return now.Add(-d)
	}
	return store.Cutoffs{Records: before(keep.Records), Rejects: before(keep.Rejects), Versions: before(keep.Versions), Intents: before(keep.Intents)}
}
