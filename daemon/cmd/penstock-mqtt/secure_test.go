// SPDX-License-Identifier: Apache-2.0

package main

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
	"path/filepath"
	"testing"
	"time"
)

// An authority signs certificates. What it makes is in a folder of the test.
type authority struct {
	t      *testing.T
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, folder: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// issue makes a certificate of a name, and the files NAME.crt and NAME.key.
func (a *authority) issue(name string, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(a.file(name+file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		a.t.Fatal(err)
	}
	return c, key
}

func (a *authority) file(name string) string { return filepath.Join(a.folder, name) }

// server returns what a broker on loopback has, which asks for a certificate of the
// authority, if it is strict.
func (a *authority) server(strict bool) *tls.Config {
	a.t.Helper()
	a.issue("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	pair, err := tls.LoadX509KeyPair(a.file("server.crt"), a.file("server.key"))
	if err != nil {
		a.t.Fatal(err)
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if strict {
		conf.ClientAuth, conf.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		conf.ClientCAs.AddCert(a.cert)
	}
	return conf
}

// client makes the certificate of a board, and returns the keys that name it.
func (a *authority) client() string {
	a.issue("board", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return fmt.Sprintf("cert_file = '%s'\nkey_file = '%s'\n", a.file("board.crt"), a.file("board.key"))
}

func (a *authority) trusted() string { return fmt.Sprintf("ca_file = '%s'\n", a.file("ca.crt")) }

// TestTLS: the broker is trusted by ca_file, and trusts us by cert_file. What is wrong with
// that is named once, however often it is tried, with the key that helps.
func TestTLS(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "") // the files are read where they are
	const (
		noTrust = "nobody whom we trust has signed the broker's certificate: see ca_file in [mqtt]"
		noCert  = "the broker may want cert_file and key_file in [mqtt]"
	)
	ours, other := newAuthority(t), newAuthority(t)
	for _, tt := range []struct {
		name   string
		strict bool
		most   uint16 // version; 0: any
		table  string
		want   string // of the reason; "": it works
	}{
		{"ca", false, 0, ours.trusted(), ""},
		{"ca of TLS 1.2", false, tls.VersionTLS12, ours.trusted(), ""},
		{"client", true, 0, ours.trusted() + ours.client(), ""},
		{"client of TLS 1.2", true, tls.VersionTLS12, ours.trusted() + ours.client(), ""},
		{"wrong ca", false, 0, other.trusted(), noTrust},
		{"no client", true, 0, ours.trusted(), noCert},
		{"no client of TLS 1.2", true, tls.VersionTLS12, ours.trusted(), noCert},
		{"client of another", true, 0, ours.trusted() + other.client(), noCert},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := ours.server(tt.strict)
			conf.MaxVersion = tt.most
			r := &rig{broker: playSecureBroker(t, conf), daemon: playDaemon(t), log: &records{}, folder: t.TempDir(), text: services, table: tt.table}
			r.start(t)
			if tt.want == "" {
				r.sent(t, statusTopic("here"))
				return
			}
			until(t, "some attempts", func() (some bool) {
				r.broker.set(func() { some = r.broker.accepted > 3 })
				return some
			})
			if named, all := r.log.count(tt.want), r.log.count("reason="); named != 1 || all != 1 {
				t.Errorf("%d of %d records say %q: %q", named, all, tt.want, r.log.list)
			}
		})
	}
}

// TestBrokersSocket: that the socket of a broker is not there is named once, and it is
// taken when it is there.
func TestBrokersSocket(t *testing.T) {
	r := newRig(t, services)
	r.broker.kill()
	r.start(t)
	const reason = "reason=there is no such socket: does the broker run?"
	until(t, reason, func() bool { return r.log.count(reason) > 0 })
	r.broker.listen(t)
	r.sent(t, statusTopic("here"))
	if n := r.log.count(reason); n != 1 {
		t.Errorf("%d records say so", n)
	}
}
