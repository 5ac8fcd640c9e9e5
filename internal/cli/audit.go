package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/store"
)

func newAudit(e Env) *cobra.Command {
	return group("audit", "The trail: verify it, export it, make its key", newAuditVerify(e), newAuditExport(e), newAuditKeygen(e))
}

func newAuditKeygen(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "keygen --out FILE", Short: "Make the signing key: FILE and FILE.pub", Args: cobra.NoArgs,
		Long: "Writes the signing key to FILE (readable by its owner only) and the public key to\nFILE.pub. Keep FILE outside the database's reach and FILE.pub with whoever verifies.",
	}
	path := c.Flags().String("out", "", "where the key goes")
	c.RunE = func(*cobra.Command, []string) error {
		if *path == "" {
			return fault.Errorf(fault.Invalid, "--out FILE is missing")
		}
		private, public, err := audit.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		if err := writeNew(*path, private+"\n", 0o600); err != nil {
			return err
		}
		if err := writeNew(*path+".pub", public+"\n", 0o644); err != nil {
			return err
		}
		fmt.Fprintf(e.Stderr, "wrote %s and %s.pub\n", *path, *path)
		return nil
	}
	return c
}

// writeNew never overwrites: a key that was lost cannot be made again.
func writeNew(path, text string, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fault.Errorf(fault.Invalid, "%w", err)
	}
	if _, err := f.WriteString(text); err != nil {
		return fault.Errorf(fault.Invalid, "%w", err)
	}
	return f.Close()
}

func newAuditExport(e Env) *cobra.Command {
	c := &cobra.Command{Use: "export --config FILE", Short: "Write the trail as JSON Lines, ready to verify elsewhere", Args: cobra.NoArgs}
	path := configFlag(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		log, closeStore, err := openLog(cmd.Context(), e, *path)
		if err != nil {
			return err
		}
		defer closeStore()
		_, signed, err := log.Checkpoint(cmd.Context())
		if err != nil {
			return err
		}
		return audit.Export(e.Stdout, audit.All(cmd.Context(), log), signed)
	}
	return c
}

func openLog(ctx context.Context, e Env, path string) (audit.Store, func(), error) {
	cfg, err := loadConfig(e, path)
	if err != nil {
		return nil, nil, err
	}
	db, err := store.Open(ctx, cfg.Store, store.Options{Log: logger(e, cfg.Log)})
	if err != nil {
		return nil, nil, inUse(err)
	}
	return db.Audit(), func() { _ = db.Close() }, nil // opened for reading: nothing is lost
}

func newAuditVerify(e Env) *cobra.Command {
	c := &cobra.Command{
		Use: "verify [EXPORT] --key FILE --checkpoint FILE", Short: "Verify the trail offline", Args: cobra.MaximumNArgs(1),
		Long: `Reads an export or the store, and checks every entry and the whole against the
public key and a checkpoint that was kept elsewhere. Exits with 1 and names the
first broken entry when something was changed, removed or replaced.`,
	}
	path, asJSON := configFlag(c), jsonFlag(c)
	keyPath := c.Flags().String("key", "", "public key (FILE.pub of audit keygen)")
	keptPath := c.Flags().String("checkpoint", "", "a checkpoint kept elsewhere")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		key, kept, err := trust(*keyPath, *keptPath)
		if err != nil {
			return err
		}
		var (
			signed  []byte
			entries iter.Seq2[audit.LogEntry, error]
			pending int
		)
		if len(args) == 1 {
			f, err := os.Open(args[0])
			if err != nil {
				return fault.Errorf(fault.Invalid, "%w", err)
			}
			defer f.Close()
			if signed, entries, err = audit.Import(f); err != nil {
				return err
			}
		} else {
			log, closeStore, err := openLog(cmd.Context(), e, *path)
			if err != nil {
				return err
			}
			defer closeStore()
			if _, signed, err = log.Checkpoint(cmd.Context()); err != nil {
				return err
			}
			if pending, _, err = log.Pending(cmd.Context()); err != nil {
				return err
			}
			entries = audit.All(cmd.Context(), log)
		}
		var latest audit.Checkpoint
		if len(signed) > 0 {
			if latest, err = key.Open(signed); err != nil {
				return no("the log's own checkpoint does not verify: %v", err)
			}
		}
		from := time.Now()
		r, err := audit.Verify(entries, kept, latest)
		if err != nil {
			return err
		}
		v := struct {
			audit.Report
			OK      bool `json:"ok"`
			Pending int  `json:"pending"` // entries that are not in the log yet
		}{r, r.Broken == nil, pending}
		err = out(e, *asJSON, v, func(w io.Writer) {
			if r.Broken != nil {
				fmt.Fprintf(w, "BROKEN: %s\n", clean(r.Broken.String()))
				return
			}
			fmt.Fprintf(w, "ok: %d entries verify (%d erased), the first %d against the checkpoint kept elsewhere; %d wait to be sequenced (%s)\n",
				r.Entries, r.Erased, r.Kept, pending, time.Since(from).Round(time.Millisecond))
		})
		if err == nil && r.Broken != nil {
			return no("")
		}
		return err
	}
	return c
}

func trust(keyPath, keptPath string) (audit.Key, audit.Checkpoint, error) {
	if keyPath == "" || keptPath == "" {
		return audit.Key{}, audit.Checkpoint{}, fault.Errorf(fault.Invalid, "--key FILE and --checkpoint FILE are both needed: without a checkpoint kept elsewhere a log that was rewritten whole would verify")
	}
	text, err := os.ReadFile(keyPath)
	if err != nil {
		return audit.Key{}, audit.Checkpoint{}, fault.Errorf(fault.Invalid, "%w", err)
	}
	if strings.HasPrefix(string(text), "PRIVATE") {
		return audit.Key{}, audit.Checkpoint{}, fault.Errorf(fault.Invalid, "%s is the signing key; verification takes the public one, %s.pub", keyPath, keyPath)
	}
	key, err := audit.NewKey(string(text))
	if err != nil {
		return key, audit.Checkpoint{}, err
	}
	signed, err := os.ReadFile(keptPath)
	if err != nil {
		return key, audit.Checkpoint{}, fault.Errorf(fault.Invalid, "%w", err)
	}
	kept, err := key.Open(signed)
	if err != nil {
		return key, kept, fmt.Errorf("%s: %w", keptPath, err)
	}
	return key, kept, nil
}
