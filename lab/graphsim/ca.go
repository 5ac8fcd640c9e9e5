package graphsim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"time"
)

// CA is a certificate authority made for one run of the lab, with one server
// certificate. Its private key is kept nowhere: a new run has a new CA.
type CA struct {
	cert   *x509.Certificate
	server tls.Certificate
}

// NewCA makes a CA and a server certificate for localhost, 127.0.0.1, ::1 and
// the given host names or IP addresses. Both are valid from an hour before
// now until a year after it; clients check that against their own clock.
func NewCA(now time.Time, hosts ...string) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the lab's CA key: %w", err)
	}
	tmpl := certTemplate(now, "Cordon lab CA")
	tmpl.IsCA, tmpl.BasicConstraintsValid = true, true
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	tmpl.MaxPathLenZero = true
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the lab's CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the lab's CA certificate: %w", err)
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the lab's server key: %w", err)
	}
	st := certTemplate(now, "Cordon lab")
	st.KeyUsage = x509.KeyUsageDigitalSignature
	st.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, h := range slices.Concat([]string{"localhost", "127.0.0.1", "::1"}, hosts) {
		if ip := net.ParseIP(h); ip != nil {
			st.IPAddresses = append(st.IPAddresses, ip)
		} else {
			st.DNSNames = append(st.DNSNames, h)
		}
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, st, cert, serverKey.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the lab's server certificate: %w", err)
	}
	return &CA{
		cert:   cert,
		server: tls.Certificate{Certificate: [][]byte{serverDER}, PrivateKey: serverKey},
	}, nil
}

func certTemplate(now time.Time, name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		serial = big.NewInt(now.UnixNano()) // crypto/rand does not fail; a serial needs only to differ
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(1, 0, 0),
	}
}

// PEM returns the CA's certificate, for a client's ca_file.
func (c *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw})
}

// WriteFile writes the CA's certificate as PEM.
func (c *CA) WriteFile(name string) error {
	if err := os.WriteFile(name, c.PEM(), 0o644); err != nil {
		return fmt.Errorf("write the lab's CA certificate: %w", err)
	}
	return nil
}

// Pool returns a pool that trusts this CA and nothing else.
func (c *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(c.cert)
	return p
}

// ServerConfig returns the TLS configuration of the server side: TLS 1.2 or
// later, HTTP/2 and HTTP/1.1.
func (c *CA) ServerConfig() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{c.server},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}
}
