package addc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// certificates makes the CA and one certificate for each controller, with its name
// and the domain's and no address: who dials an address fails the name check. The
// CA's key is forgotten. Samba's own certificate has no subjectAltName, which Go
// refuses.
func (d *Domain) certificates(now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Lab CA of " + d.Name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 7),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if err := writeCertificate(d.CAFile, ca, ca, key, key); err != nil {
		return err
	}
	for n, c := range d.Controllers {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(n) + 2), Subject: pkix.Name{CommonName: c.Host},
			NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 7), DNSNames: []string{c.Host, d.Name},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		tls := filepath.Join(c.Dir, "tls")
		if err := os.MkdirAll(tls, 0o700); err != nil {
			return err
		}
		if err := writeCertificate(filepath.Join(tls, "cert.pem"), leaf, ca, own, key); err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(own)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tls, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func writeCertificate(path string, c, issuer *x509.Certificate, key, by *ecdsa.PrivateKey) error {
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, &key.PublicKey, by)
	if err != nil {
		return err
	}
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
