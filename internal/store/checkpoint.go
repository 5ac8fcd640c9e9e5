package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
)

// SQLite commits into a log, which has to be copied into the database file before
// it can begin anew. A copier does that on a connection and a goroutine of its own
// while the writer goes on, so that no commit takes as long as the copying does.
// The writer itself copies only where commits follow one another so closely that
// the log grows all the same: see the limits.
const (
	copyAt  = 4_000  // pages in the log that were not copied yet
	copyNow = 16_000 // pages in the log at which the writer copies before it goes on
)

// A copier is made by newCopier and ended by close.
type copier struct {
	db    *sql.DB
	log   *slog.Logger
	wakes chan struct{}
	ended chan struct{}
	ends  sync.WaitGroup
	once  sync.Once
}

// newCopier takes over db, which has connections for nobody else.
func newCopier(db *sql.DB, log *slog.Logger) *copier {
	db.SetMaxOpenConns(1)
	c := &copier{db: db, log: log, wakes: make(chan struct{}, 1), ended: make(chan struct{})}
	c.ends.Go(c.work)
	return c
}

func (c *copier) work() {
	for {
		select {
		case <-c.ended:
			return
		case <-c.wakes:
		}
		if err := c.copy(); err != nil {
			c.log.Warn("the log of the database could not be copied into its file; it is tried again, in the end by the writer", slog.Any("err", err))
		}
	}
}

// wake has the log looked at; it does not wait.
func (c *copier) wake() {
	select {
	case c.wakes <- struct{}{}:
	default:
	}
}

// copy copies the log if there is enough of it. What is read or written meanwhile
// is not disturbed.
func (c *copier) copy() error {
	pages, copied, err := c.checkpoint("NOOP")
	if err == nil && pages-copied >= copyAt {
		_, _, err = c.checkpoint("PASSIVE")
	}
	return err
}

// checkpoint returns how many pages the log holds and how many of them were copied.
func (c *copier) checkpoint(mode string) (pages, copied int, err error) {
	var busy int
	err = c.db.QueryRowContext(context.Background(), `PRAGMA wal_checkpoint(`+mode+`)`).Scan(&busy, &pages, &copied)
	if err != nil {
		return 0, 0, fmt.Errorf("checkpoint: %w", err)
	}
	return pages, copied, nil
}

// close waits until what is being copied is copied.
func (c *copier) close() (err error) {
	if c == nil {
		return nil
	}
	c.once.Do(func() {
		close(c.ended)
		c.ends.Wait()
		err = c.db.Close()
	})
	return err
}
