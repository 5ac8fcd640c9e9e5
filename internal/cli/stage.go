package cli

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-f47efad2/cordon/internal/audit"
	"github.com/seed-f47efad2/cordon/internal/config"
)

// A stage is a folder with everything Cordon needs to work on a lab: key,
// certificate, secret, tokens and configuration.
type stage struct {
	folder string
	path   string // of the configuration
	config config.Config
	tokens map[string]string // operator → token
	key    audit.Key
}

// A stageSpec says how the configuration of a stage differs from the usual one.
type stageSpec struct {
	folder    string
	listen    string
	store     string // "": SQLite in the folder
	intervals string // the connectors section's lines, indented; "": quick ones
	limits    string // the limits section's lines, indented; "": none
	playbook  string // text of the only playbook; "": the ones that Cordon ships
	operators []config.Operator
}

// quick polls as often as identity protection's one request a second allows
// beside containment.
const quick = "      risk_detections: 2s\n      workload_detections: 5s\n      risky_users: 5s\n      alerts: 2s\n      directory: 30s\n      registration: 10m\n      open_cases: 10s\n"

// setStage writes the files of a stage and loads its configuration as anybody
// would.
func setStage(e Env, l *lab, s stageSpec) (*stage, error) {
	st := &stage{folder: s.folder, path: filepath.Join(s.folder, "cordon.yaml"), tokens: map[string]string{}}
	private, public, err := audit.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	if st.key, err = audit.NewKey(public); err != nil {
		return nil, err
	}
	files := map[string]string{"audit.key": private, "audit.key.pub": public, "client.secret": l.secret, "ca.pem": string(l.ca.PEM())}
	var b strings.Builder
	if s.store == "" {
		s.store = "sqlite:cordon.db"
	}
	if s.intervals == "" {
		s.intervals = quick
	}
	operators := "operators:\n"
	if s.playbook != "" {
		files["playbooks/only.yaml"] = s.playbook
		operators = "playbooks: [playbooks]\n" + operators
	}
	fmt.Fprintf(&b, "store: %s\nlisten: %s\nlog:\n  level: warn\naudit:\n  key: file:audit.key\n  checkpoint_file: checkpoint\n%s", s.store, s.listen, operators)
	for _, o := range s.operators {
		token := make([]byte, 32)
		if _, err := rand.Read(token); err != nil {
			return nil, err
		}
		st.tokens[o.ID] = hex.EncodeToString(token)
		files[o.ID+".token"] = st.tokens[o.ID]
		fmt.Fprintf(&b, "  - id: %s\n    name: %q\n    roles: [%s]\n    groups: [%s]\n    account: %q\n    token: file:%s.token\n",
			o.ID, o.Name, strings.Join(o.Roles, ", "), strings.Join(o.Groups, ", "), o.Account, o.ID)
	}
	fmt.Fprintf(&b, "tenants:\n  - name: simulated tenant\n    tenant_id: %s\n    client_id: %s\n    graph_url: %s\n    login_url: %s\n    ca_file: ca.pem\n    credential:\n      secret: file:client.secret\n    mode: act\n    connectors:\n%s",
		l.world.TenantID(), labApp, l.url(), l.url(), s.intervals)
	if s.limits != "" {
		fmt.Fprintf(&b, "    limits:\n%s", s.limits)
	}
	ids, why := l.protected()
	fmt.Fprintf(&b, "    protected:\n")
	for n, id := range ids {
		fmt.Fprintf(&b, "      - id: %s\n        reason: %s\n", id, why[n])
	}
	files["cordon.yaml"] = b.String()
	for name, text := range files {
		path := filepath.Join(s.folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	st.config, err = config.Load(st.path, e.Environ)
	return st, err
}
