package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

//go:embed migrations
var migrations embed.FS

// A migration is one numbered text of one dialect.
type migration struct {
	version int64
	name    string
	text    string
}

// migrationsOf returns a dialect's migrations in order. Files are named
// NNNN_what.sql; numbers rise by one.
func migrationsOf(dialect string) ([]migration, error) {
	names, err := fs.Glob(migrations, "migrations/"+dialect+"/*.sql")
	if err != nil {
		return nil, err
	}
	var out []migration
	for n, path := range names { // Glob sorts
		base := path[strings.LastIndexByte(path, '/')+1:]
		number, _, _ := strings.Cut(base, "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil || v != int64(n+1) {
			return nil, fmt.Errorf("migration %s: its number is not %04d", path, n+1)
		}
		text, err := migrations.ReadFile(path)
		if err != nil {
			return nil, err
		}
		out = append(out, migration{v, base, string(text)})
	}
	return out, nil
}

const createMigrations = `CREATE TABLE IF NOT EXISTS migrations (
	version bigint NOT NULL PRIMARY KEY, name text NOT NULL, applied_at bigint NOT NULL)`

// pending returns the migrations above version; a version above the newest is
// fault.Invalid, because an older program would not know what it reads.
func pending(dialect string, version int64) ([]migration, error) {
	all, err := migrationsOf(dialect)
	if err != nil {
		return nil, err
	}
	if version > int64(len(all)) {
		return nil, fault.Errorf(fault.Invalid,
			"the tables are of version %d, this program knows %d; use the newer cordon that wrote them", version, len(all))
	}
	return all[version:], nil
}

func (d *sqliteDB) migrate(ctx context.Context) error {
	if _, err := d.writer.ExecContext(ctx, createMigrations); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	var version int64
	if err := d.writer.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM migrations`).Scan(&version); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	todo, err := pending("sqlite", version)
	if err != nil {
		return err
	}
	for _, m := range todo {
		if err := d.apply(ctx, m); err != nil {
			return fmt.Errorf("migrate to %s: %w", m.name, err)
		}
	}
	if err := migrateRiver(ctx, riversqlite.New(d.writer), d.opts.Log); err != nil {
		return err
	}
	// No other process has the file open (see lockFile), so whoever led River or
	// was at work in it is gone: nobody needs to wait until their time is up.
	for _, q := range []string{
		`DELETE FROM river_leader`,
		`UPDATE river_job SET state = 'available' WHERE state = 'running'`,
	} {
		if _, err := d.writer.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("take River over: %w", err)
		}
	}
	return nil
}

func (d *sqliteDB) apply(ctx context.Context, m migration) error {
	tx, err := d.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, m.text); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO migrations (version, name, applied_at) VALUES (?, ?, ?)`,
		m.version, m.name, d.opts.Now().UnixMicro()); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func (d *postgresDB) migrate(ctx context.Context) (err error) {
	// Replicas that start together migrate one after another.
	c, err := d.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer c.Release()
	if _, err := c.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(auditLock)); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() {
		_, unlock := c.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(auditLock))
		if err == nil && unlock != nil {
			err = fmt.Errorf("migrate: %w", unlock)
		}
	}()
	if _, err := c.Exec(ctx, createMigrations); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	var version int64
	if err := c.QueryRow(ctx, `SELECT coalesce(max(version), 0) FROM migrations`).Scan(&version); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	todo, err := pending("postgres", version)
	if err != nil {
		return err
	}
	for _, m := range todo {
		err := pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, m.text); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO migrations (version, name, applied_at) VALUES ($1, $2, $3)`,
				m.version, m.name, d.opts.Now().UnixMicro())
			return err
		})
		if err != nil {
			return fmt.Errorf("migrate to %s: %w", m.name, err)
		}
	}
	return migrateRiver(ctx, riverpgxv5.New(d.pool), d.opts.Log)
}

// migrateRiver brings River's own tables up to the version of the linked module.
func migrateRiver[T any](ctx context.Context, driver riverdriver.Driver[T], log *slog.Logger) error {
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet(log)})
	if err != nil {
		return fmt.Errorf("migrate River: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate River: %w", err)
	}
	return nil
}

// insertOnly is the configuration of a River client that works nothing.
func insertOnly(o Options) *river.Config {
	return &river.Config{Logger: quiet(o.Log), SkipUnknownJobCheck: true}
}

// quiet passes River's warnings and errors on and drops its chatter.
func quiet(log *slog.Logger) *slog.Logger { return slog.New(above{log.Handler()}) }

// above is a handler that drops what is below a warning.
type above struct{ slog.Handler }

func (h above) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h above) WithAttrs(a []slog.Attr) slog.Handler { return above{h.Handler.WithAttrs(a)} }

func (h above) WithGroup(name string) slog.Handler { return above{h.Handler.WithGroup(name)} }
