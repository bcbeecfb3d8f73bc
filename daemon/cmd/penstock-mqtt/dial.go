// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"github.com/eclipse/paho.golang/autopaho"

	"penstock/daemon/internal/config"
)

// secrets are what the files of the table [mqtt] hold.
type secrets struct {
	password []byte
	tls      *tls.Config // nil: there is no TLS
}

// credential returns the contents of a file: of the one that the service manager passes on
// under a name, if it does, since only root may read the one that the table names.
func credential(name, file string) ([]byte, error) {
	if file == "" {
		return nil, nil
	}
	from := file
	if folder := os.Getenv("CREDENTIALS_DIRECTORY"); folder != "" {
		from = filepath.Join(folder, name)
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return nil, err
	}
	if string(b) == config.NoPassword && from != file {
		return nil, fmt.Errorf("%s: the service manager could not read it", file)
	}
	return b, nil
}

// readSecrets reads the files of the table.
func readSecrets(m *config.MQTT) (s secrets, err error) {
	b, err := credential("password", m.PasswordFile)
	if err != nil {
		return s, err
	}
	s.password, _, _ = bytes.Cut(b, []byte("\n"))
	s.password = bytes.TrimSuffix(s.password, []byte("\r"))
	if m.PasswordFile != "" && len(s.password) == 0 {
		return s, fmt.Errorf("%s: its first line is empty", m.PasswordFile)
	}
	if !m.Broker.TLS {
		return s, nil
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: m.Broker.Host}
	if s.tls.ServerName == "" {
		s.tls.ServerName = m.Broker.AddrPort.Addr().WithZone("").String()
	}
	ca, err := credential("ca", m.CAFile)
	if err == nil && m.CAFile != "" {
		s.tls.RootCAs = x509.NewCertPool()
		if !s.tls.RootCAs.AppendCertsFromPEM(ca) {
			err = fmt.Errorf("%s: holds no certificate", m.CAFile)
		}
	}
	if err != nil || m.CertFile == "" {
		return s, err
	}
	cert, err := credential("cert", m.CertFile)
	if err != nil {
		return s, err
	}
	key, err := credential("key", m.KeyFile)
	if err != nil {
		return s, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return s, fmt.Errorf("%s and %s: %w", m.CertFile, m.KeyFile, err)
	}
	s.tls.Certificates = []tls.Certificate{pair}
	return s, nil
}

// dial opens a connection, for the library.
func (b *broker) dial(ctx context.Context, _ autopaho.ClientConfig, _ *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	network := "tcp"
	if b.conf.Broker.Network == "unix" {
		network = "unix"
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, b.conf.Broker.Text)
	if err != nil {
		return nil, err
	}
	if b.secrets.tls == nil {
		return newWire(c), nil
	}
	secure := tls.Client(c, b.secrets.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("%w: %w", errNoTLS, err)
	}
	return newWire(secure), nil
}
