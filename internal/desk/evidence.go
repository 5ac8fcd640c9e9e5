package desk

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-f47efad2/cordon/internal/access"
	"github.com/seed-f47efad2/cordon/internal/approval"
	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/casefile"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// Evidence is a case exported whole: files of JSON, one readable report, and a
// manifest with the hash of each. The manifest is in the form of sha256sum, so that
// anybody can check the files without Cordon.
type Evidence struct {
	Case     casefile.ID       `json:"case"`
	Identity identity.ID       `json:"identity"`
	At       time.Time         `json:"at"`
	By       access.OperatorID `json:"by"`
	Files    []EvidenceFile    `json:"files"`
	Manifest string            `json:"manifest"` // lines of "hash  name", in the order of names
	SHA256   string            `json:"sha256"`   // of the manifest; it is in the trail
}

// An EvidenceFile is one file of the export.
type EvidenceFile struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
	Text   string `json:"text"`
}

// Export gathers all evidence of a case. It needs access.Audit, because the trail is
// part of it, and stays in the trail itself, with the manifest's hash.
func (s *Service) Export(ctx context.Context, op access.Operator, id casefile.ID) (Evidence, error) {
	if err := op.Require(access.Audit); err != nil {
		return Evidence{}, err
	}
	c, i, err := s.caseOf(ctx, op, id)
	if err != nil {
		return Evidence{}, err
	}
	v, err := s.CaseView(ctx, op, id)
	if err != nil {
		return Evidence{}, err
	}
	e := Evidence{Case: id, Identity: c.Identity, At: s.now().UTC(), By: op.ID}
	add := func(name string, value any) error {
		b, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return fmt.Errorf("case %s: write %s: %w", id, name, err)
		}
		e.Files = append(e.Files, EvidenceFile{Name: name, Text: string(b) + "\n"})
		return nil
	}
	in, err := s.input(ctx, c.Tenant, c.Identity)
	if err != nil {
		return e, err
	}
	risks, err := s.store.AccountRisks(ctx, c.Tenant, c.Identity, 10_000)
	if err != nil {
		return e, err
	}
	made, err := s.store.Assessments(ctx, c.Tenant, c.Identity, 10_000)
	if err != nil {
		return e, err
	}
	notes, err := s.store.Notes(ctx, c.Tenant, id)
	if err != nil {
		return e, err
	}
	runs, err := s.store.Runs(ctx, RunFilter{Tenant: c.Tenant, Case: id}, Page{Limit: 500})
	if err != nil {
		return e, err
	}
	asked, err := s.store.Approvals(ctx, ApprovalFilter{Tenant: c.Tenant, Case: id}, Page{Limit: 500})
	if err != nil {
		return e, err
	}
	acts, err := s.Actions(ctx, op, ActionFilter{Tenant: c.Tenant, Case: id}, Page{Limit: 500})
	if err != nil {
		return e, err
	}
	trail, err := s.wholeTrail(ctx, AuditFilter{Tenant: c.Tenant, Case: id})
	if err != nil {
		return e, err
	}
	records, err := s.recorded(ctx, i)
	if err != nil {
		return e, err
	}
	swept, err := s.Sweep(ctx, op, id)
	if err != nil {
		return e, err
	}
	for _, f := range []struct {
		name  string
		value any
	}{
		{"case.json", c}, {"identity.json", i}, {"assessment.json", v.Assessment}, {"assessments.json", made}, {"assessment-input.json", in},
		{"signals.json", in.Signals}, {"account-risks.json", risks}, {"investigation.json", v.Investigation}, {"notes.json", notes},
		{"runs.json", runs.Items}, {"approvals.json", asked.Items}, {"actions.json", acts.Items}, {"trail.json", trail},
		{"records.json", records}, {"left-behind.json", swept},
	} {
		if err := add(f.name, f.value); err != nil {
			return e, err
		}
	}
	e.Files = append(e.Files, EvidenceFile{Name: "report.md", Text: report(v, e, asked.Items, swept)})
	slices.SortFunc(e.Files, func(a, b EvidenceFile) int { return strings.Compare(a.Name, b.Name) })
	var manifest strings.Builder
	for n := range e.Files {
		e.Files[n].SHA256 = hash(e.Files[n].Text)
		fmt.Fprintf(&manifest, "%s  %s\n", e.Files[n].SHA256, e.Files[n].Name)
	}
	e.Manifest, e.SHA256 = manifest.String(), hash(manifest.String())
	err = s.store.Update(ctx, func(tx Tx) error {
		return tx.Audit(audit.Entry{
			Tenant: c.Tenant, At: e.At, Actor: access.ByOperator(op.ID), Kind: audit.CaseExported, Identity: string(c.Identity), Case: string(id),
			Text: fmt.Sprintf("%s exported the evidence of case %s", op.ID, id), Data: map[string]any{"sha256": e.SHA256, "files": len(e.Files)},
		})
	})
	return e, err
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// wholeTrail reads all entries of the filter, oldest first.
func (s *Service) wholeTrail(ctx context.Context, f AuditFilter) ([]audit.Entry, error) {
	var out []audit.Entry
	for p := (Page{Limit: 500}); ; {
		list, err := s.store.AuditEntries(ctx, f, p)
		if err != nil {
			return nil, fmt.Errorf("read the trail: %w", err)
		}
		out = append(out, list.Items...)
		if p.After = list.Next; list.Next == "" {
			slices.Reverse(out)
			return out, nil
		}
	}
}

// plain makes foreign text safe in a line of Markdown: one line, nothing that marks
// up or leads elsewhere.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return '\uFFFD'
		}
		return r
	}, s)
	return strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "#", `\#`, "|", `\|`, "!", `\!`).Replace(s)
}

// report is the case in words.
func report(v CaseView, e Evidence, asked []approval.Request, swept Swept) string {
	var b strings.Builder
	line := func(format string, args ...any) {
		for n, a := range args {
			if s, ok := a.(string); ok {
				args[n] = plain(s)
			}
		}
		fmt.Fprintf(&b, format+"\n", args...)
	}
	head := func(text string) { line("\n## %s\n", text) }
	c := v.Case
	line("# Case %s: %s\n", string(c.ID), v.Who.Name)
	line("- Account: %s (%s), tenant %s", v.Who.UPN, string(v.Who.Kind), string(c.Tenant))
	line("- Status: %s; level %s, score %d", string(c.Status), string(c.Level), c.Score)
	line("- First signal %s, last %s; opened %s", stamp(c.FirstSignal), stamp(c.LastSignal), stamp(c.OpenedAt))
	if !c.ContainedAt.IsZero() {
		line("- Contained %s", stamp(c.ContainedAt))
	}
	if c.Verdict != nil {
		line("- Verdict: %s by %s, %s: %s", string(c.Verdict.Word), string(c.Verdict.By), stamp(c.Verdict.At), cmp.Or(c.Verdict.Reason, "no reason given"))
	}
	line("- Exported %s by %s. Each file's SHA-256 is in the manifest; its own is in Cordon's trail.", stamp(e.At), string(e.By))
	if a := v.Assessment; a != nil {
		head("Why")
		for _, r := range a.Reasons {
			line("- +%d: %s (%s %s)", r.Points, r.Text, string(r.Source), r.Signal)
		}
		line("- = %d, %s, by the rules %s at %s", a.Score, string(a.Level), a.Rules, stamp(a.At))
		for _, n := range a.Notes {
			line("- Note: %s", n)
		}
	}
	if len(v.Residuals) > 0 {
		head("Still open")
		for _, r := range v.Residuals {
			line("- %s: %s", r.Account, r.Text)
		}
	}
	head("Investigation")
	for _, st := range v.Investigation.Steps {
		if st.Answered == nil {
			line("- %s: %s: not answered", string(st.Phase), st.Text)
			continue
		}
		line("- %s: %s: %s, by %s, %s. %s", string(st.Phase), st.Text, string(st.Answered.Answer), string(st.Answered.By), stamp(st.Answered.At), st.Answered.Text)
	}
	for _, n := range v.Investigation.Notes {
		line("- %s, %s: %s", string(n.By), stamp(n.At), n.Text)
	}
	head("What was done")
	for _, r := range v.Runs {
		line("- %s: %s, %d of %d steps verified. %s", r.Title, string(r.State), r.Verified, r.Steps, r.Reason)
	}
	for _, q := range asked {
		for _, d := range q.Decisions {
			line("- Approval %s of plan %s: %s by %s, %s. %s", string(q.ID), q.PlanHash, map[bool]string{true: "approved", false: "rejected"}[d.Approve], string(d.By), stamp(d.At), d.Reason)
		}
	}
	head("Left behind")
	for _, l := range swept.Left {
		line("- %s: %s: %s by %s", stamp(l.At), string(l.Kind), l.Text, l.By)
	}
	for _, t := range swept.Blind {
		line("- %s", t)
	}
	head("Timeline")
	for n := len(v.Timeline) - 1; n >= 0; n-- {
		t := v.Timeline[n]
		line("- %s: %s: %s %s", stamp(t.At), t.Kind, t.Text, string(t.Actor))
	}
	return b.String()
}
