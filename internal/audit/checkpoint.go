package audit

import (
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/seed-f47efad2/cordon/internal/fault"
)

// Origin is the first line of every checkpoint: which kind of log it is about.
const Origin = "cordon.audit/v1"

// A Checkpoint says how long the log is and what its Merkle root is.
type Checkpoint struct {
	Size int64
	Root tlog.Hash
}

// text is the checkpoint's body: origin, size and root, a line each, as the
// transparency-log checkpoint format has it.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// A Signer signs checkpoints with a key that is kept outside the database.
type Signer struct{ signer note.Signer }

// GenerateKey returns a new signing key and its public half, each one line of
// text (x/mod/sumdb/note, Ed25519).
func GenerateKey(rand io.Reader) (private, public string, err error) {
	return note.GenerateKey(rand, "cordon")
}

// NewSigner reads a private key as GenerateKey wrote it. The error never
// contains the key.
func NewSigner(private string) (Signer, error) {
	s, err := note.NewSigner(strings.TrimSpace(private))
	if err != nil {
		return Signer{}, fault.Errorf(fault.Invalid, "audit key: not a signing key; make one with `cordon audit keygen`")
	}
	return Signer{s}, nil
}

// Sign returns the signed checkpoint, as text.
func (s Signer) Sign(c Checkpoint) ([]byte, error) {
	return note.Sign(&note.Note{Text: c.text()}, s.signer)
}

// A Key verifies checkpoints.
type Key struct{ verifier note.Verifier }

// NewKey reads a public key as GenerateKey wrote it.
func NewKey(public string) (Key, error) {
	v, err := note.NewVerifier(strings.TrimSpace(public))
	if err != nil {
		return Key{}, fault.Errorf(fault.Invalid, "audit key: not a public key: %w", err)
	}
	return Key{v}, nil
}

// Open verifies a signed checkpoint and returns what it says. A bad signature,
// another key or another kind of text is fault.Invalid.
func (k Key) Open(signed []byte) (Checkpoint, error) {
	n, err := note.Open(signed, note.VerifierList(k.verifier))
	if err != nil {
		return Checkpoint{}, fault.Errorf(fault.Invalid, "audit checkpoint: %w", err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != Origin || lines[3] != "" {
		return Checkpoint{}, fault.Errorf(fault.Invalid, "audit checkpoint: not a checkpoint of %s", Origin)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, err2 := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || err2 != nil || size < 0 || len(root) != len(tlog.Hash{}) {
		return Checkpoint{}, fault.Errorf(fault.Invalid, "audit checkpoint: malformed size or root")
	}
	return Checkpoint{Size: size, Root: tlog.Hash(root)}, nil
}
