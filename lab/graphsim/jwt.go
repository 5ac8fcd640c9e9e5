package graphsim

import (
	"crypto"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxJWT bounds a token or an assertion before anything of it is decoded.
const maxJWT = 16 << 10

var b64 = base64.RawURLEncoding

// jwtHeader holds the parts of a JOSE header that the token endpoint reads.
type jwtHeader struct {
	Alg     string `json:"alg"`
	Typ     string `json:"typ,omitempty"`
	Kid     string `json:"kid,omitempty"`
	X5t     string `json:"x5t,omitempty"`
	X5tS256 string `json:"x5t#S256,omitempty"`
}

// jwtClaims holds the claims that the lab writes or checks. Times are Unix
// seconds; fractions are accepted and cut.
type jwtClaims struct {
	Aud   audience    `json:"aud"`
	Iss   string      `json:"iss"`
	Sub   string      `json:"sub"`
	Jti   string      `json:"jti,omitempty"`
	Nbf   json.Number `json:"nbf,omitempty"`
	Iat   json.Number `json:"iat,omitempty"`
	Exp   json.Number `json:"exp,omitempty"`
	AppID string      `json:"appid,omitempty"`
	Tid   string      `json:"tid,omitempty"`
	Oid   string      `json:"oid,omitempty"`
	Idtyp string      `json:"idtyp,omitempty"`
	Ver   string      `json:"ver,omitempty"`
	Roles []string    `json:"roles,omitempty"`
	Wids  []string    `json:"wids,omitempty"`
}

// audience is "aud": one string, or an array of which the first counts.
type audience string

// UnmarshalJSON accepts a string or an array of strings.
func (a *audience) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*a = audience(s)
		return nil
	}
	var list []string
	if err := json.Unmarshal(b, &list); err != nil || len(list) == 0 {
		return errors.New("aud is neither a string nor an array of strings")
	}
	*a = audience(list[0])
	return nil
}

// jwt is a decoded token whose signature has not been checked.
type jwt struct {
	header jwtHeader
	claims jwtClaims
	signed string
	sig    []byte
}

func parseJWT(s string) (jwt, error) {
	if len(s) > maxJWT {
		return jwt{}, fmt.Errorf("the token is longer than %d bytes", maxJWT)
	}
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return jwt{}, errors.New("the token has not three parts")
	}
	var t jwt
	for i, into := range []any{&t.header, &t.claims} {
		raw, err := b64.DecodeString(strings.TrimRight(parts[i], "="))
		if err != nil {
			return jwt{}, errors.New("the token is not base64url")
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return jwt{}, errors.New("the token is not JSON")
		}
	}
	sig, err := b64.DecodeString(strings.TrimRight(parts[2], "="))
	if err != nil {
		return jwt{}, errors.New("the signature is not base64url")
	}
	t.sig = sig
	t.signed = s[:len(s)-len(parts[2])-1]
	return t, nil
}

// unix reads a NumericDate; the zero time when it is absent or unreadable.
func unix(n json.Number) time.Time {
	f, err := n.Float64()
	if err != nil {
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}

// verifyRSA checks an RS256 or PS256 signature.
func (t jwt) verifyRSA(key *rsa.PublicKey) error {
	sum := sha256.Sum256([]byte(t.signed))
	switch t.header.Alg {
	case "RS256":
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], t.sig)
	case "PS256":
		return rsa.VerifyPSS(key, crypto.SHA256, sum[:], t.sig, nil)
	}
	return fmt.Errorf("the algorithm %q is not accepted", t.header.Alg)
}

// signHS256 makes a token signed with the tenant's own secret.
func signHS256(key []byte, c jwtClaims) (string, error) {
	h, err := json.Marshal(jwtHeader{Alg: "HS256", Typ: "JWT", Kid: "lab"})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	signed := b64.EncodeToString(h) + "." + b64.EncodeToString(body)
	m := hmac.New(sha256.New, key)
	m.Write([]byte(signed))
	return signed + "." + b64.EncodeToString(m.Sum(nil)), nil
}

// verifyHS256 decodes a token of signHS256 and checks its signature.
func verifyHS256(key []byte, s string) (jwtClaims, error) {
	t, err := parseJWT(s)
	if err != nil {
		return jwtClaims{}, err
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(t.signed))
	if t.header.Alg != "HS256" || !hmac.Equal(m.Sum(nil), t.sig) {
		return jwtClaims{}, errors.New("the signature is wrong")
	}
	return t.claims, nil
}
