package action

import (
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"io"

	"github.com/seed-f47efad2/cordon/internal/fault"
	"github.com/seed-f47efad2/cordon/internal/identity"
)

// The parameters of an action whose secret is handed over (law 4).
const (
	ParamRecipient    = "recipient"     // the operator who may reveal it
	ParamRecipientKey = "recipient_key" // the public key it is sealed for, base64url without padding
)

// NewSealKey returns a key pair for one hand-over (X25519), both halves as
// base64url without padding. The private one goes into the one-time link and
// nowhere else.
func NewSealKey(rand io.Reader) (public, private string, err error) {
	k, err := ecdh.X25519().GenerateKey(rand)
	if err != nil {
		return "", "", err
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString(k.PublicKey().Bytes()), enc.EncodeToString(k.Bytes()), nil
}

// Seal encrypts secret for the holder of the private key (RFC 9180, base mode,
// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305), bound to the
// tenant and the action: it opens as no other's. A public key that is none is
// fault.Invalid.
func Seal(public string, t identity.Tenant, id ID, secret []byte) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(public)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "recipient key: not base64url")
	}
	k, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(b)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "recipient key: not an X25519 public key")
	}
	return hpke.Seal(k, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(t, id), secret)
}

// OpenSealed is the reverse of Seal. A wrong key, tenant or action, and changed
// ciphertext, are fault.Invalid; the error holds none of them.
func OpenSealed(private string, t identity.Tenant, id ID, sealed []byte) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(private)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "the key is not the one from the link: it is not base64url")
	}
	k, err := hpke.DHKEM(ecdh.X25519()).NewPrivateKey(b)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "the key is not the one from the link: it has the wrong length")
	}
	secret, err := hpke.Open(k, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), sealInfo(t, id), sealed)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "the key is not the one from the link")
	}
	return secret, nil
}

func sealInfo(t identity.Tenant, id ID) []byte {
	return []byte("cordon hand-over v1\x00" + string(t) + "\x00" + string(id))
}
