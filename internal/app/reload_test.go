package app_test

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/app"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/config"
	"github.com/seed-f47efad2/cordon/internal/desk"
	"github.com/seed-f47efad2/cordon/internal/fault"
)

const base = `store: sqlite:cordon.db
listen: 127.0.0.1:0
playbooks: [books]
audit: {key: file:audit.key}
operators:
  - {id: owner, roles: [owner]}
tenants:
  - tenant_id: 11111111-1111-4111-8111-111111111111
    client_id: 22222222-2222-4222-8222-222222222222
    credential: {secret: env:NOBODY_READS_THIS}
`

const book = `playbook: v1
id: stop
version: 1.0.0
title: Stop
owner: identity-response
attack: [T1078]
mode: enforce
trigger:
  on: [manual]
steps:
  - {id: disable, uses: identity.disable@1, contains: true}
`

// A house is a folder with a configuration, and a Cordon that reads it.
type house struct {
	t      *testing.T
	folder string
	app    *app.App
}

func (h house) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func open(t *testing.T) house {
	t.Helper()
	h := house{t: t, folder: t.TempDir()}
	private, _, err := audit.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h.write("audit.key", private)
	h.write("books/stop.yaml", book)
	h.write("cordon.yaml", base)
	load := func() (config.Config, error) { return config.Load(filepath.Join(h.folder, "cordon.yaml"), nil) }
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if h.app, err = app.New(t.Context(), app.Options{Config: c, Log: slog.New(slog.DiscardHandler), Reload: load}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.app.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return h
}

func (h house) owner() access.Operator {
	return access.Operator{ID: "owner", Roles: []access.Role{access.Owner}}
}

func (h house) books() string {
	h.t.Helper()
	list, err := h.app.Desk().Playbooks(h.t.Context(), h.owner())
	if err != nil {
		h.t.Fatal(err)
	}
	var ids []string
	for _, p := range list {
		ids = append(ids, p.Ref.ID)
	}
	return strings.Join(ids, " ")
}

// said returns what the trail says of configurations, newest first.
func (h house) said() []audit.Entry {
	h.t.Helper()
	list, err := h.app.Desk().AuditEntries(h.t.Context(), h.owner(), desk.AuditFilter{Kind: []audit.Kind{audit.ConfigLoaded, audit.ConfigRefused}}, desk.Page{})
	if err != nil {
		h.t.Fatal(err)
	}
	return list.Items
}

func TestReloadRefusesWhatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]struct{ file, text, says string }{
		"broken YAML":      {"cordon.yaml", "store: sqlite:cordon.db\n  listen: x\n", "cordon.yaml:2: "},
		"unknown key":      {"cordon.yaml", base + "lisen: x\n", "unknown key lisen"},
		"bad playbook":     {"books/stop.yaml", strings.Replace(book, "manual", "sometimes", 1), "stop.yaml:9:"},
		"bad CEL":          {"books/stop.yaml", strings.Replace(book, "[manual]", "[signal.received]\n  when: signal.level >", 1), "stop.yaml:10:"},
		"a playbook twice": {"books/again.yaml", book, "the id stop is taken by "},
		"another store":    {"cordon.yaml", strings.Replace(base, "cordon.db", "other.db", 1), "store changed: restart Cordon for that"},
		"another app":      {"cordon.yaml", strings.Replace(base, "22222222-2222", "33333333-3333", 1), "tenants[0]: how to reach it changed: restart"},
		"an operator's token that is not there": {"cordon.yaml", strings.Replace(base, "roles: [owner]", "roles: [owner], token: file:none", 1),
			"operator owner: token: secret file:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t)
			h.write("books/second.yaml", strings.Replace(book, "id: stop", "id: second", 1)) // would be taken over, were the rest right
			h.write(k.file, k.text)
			err := h.app.Reload()
			if !errors.Is(err, fault.Invalid) || !strings.Contains(err.Error(), k.says) {
				t.Errorf("Reload: %v, want it to say %q", err, k.says)
			}
			if got := h.books(); got != "stop" {
				t.Errorf("playbooks are %q now: half of the configuration was taken over", got)
			}
			said := h.said()
			if len(said) != 1 || said[0].Kind != audit.ConfigRefused {
				t.Fatalf("the trail says %v", said)
			}
			if reason, _ := said[0].Data["reason"].(string); !strings.Contains(reason, k.says) {
				t.Errorf("the trail's reason is %q, want it to say %q", reason, k.says)
			}
		})
	}
}

func TestReloadTakesOverAllAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.write("books/second.yaml", strings.Replace(book, "id: stop", "id: second", 1))
	h.write("cordon.yaml", base+"    mode: act\n    limits: {accounts_per_hour: 7}\n")
	if err := h.app.Reload(); err != nil {
		t.Fatal(err)
	}
	if got := h.books(); got != "second stop" {
		t.Errorf("playbooks are %q", got)
	}
	if said := h.said(); len(said) != 1 || said[0].Kind != audit.ConfigLoaded {
		t.Errorf("the trail says %v", said)
	}
}

// An address that is taken, a key that is none: New leaves nothing open.
func TestNewLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	h := open(t)
	folder := t.TempDir()
	other := house{t: t, folder: folder}
	key, err := os.ReadFile(filepath.Join(h.folder, "audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	other.write("audit.key", string(key))
	other.write("books/stop.yaml", book)
	for _, k := range []struct{ text, says string }{
		{strings.Replace(base, "127.0.0.1:0", h.app.Addr(), 1), "address already in use"},
		{strings.Replace(base, "audit.key", "books/stop.yaml", 1), "audit.key"},
		{base, ""},
	} {
		other.write("cordon.yaml", k.text)
		c, err := config.Load(filepath.Join(folder, "cordon.yaml"), nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := app.New(t.Context(), app.Options{Config: c, Log: slog.New(slog.DiscardHandler)})
		if k.says != "" {
			if err == nil || !strings.Contains(err.Error(), k.says) {
				t.Errorf("New: %v, want it to say %q", err, k.says)
			}
			continue
		}
		if err != nil { // the store's lock of an earlier New
			t.Fatalf("New: %v", err)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}
