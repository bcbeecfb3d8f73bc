// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/evloop/evlooptest"
)

// The recipes of penstock.toml(5) under BEHIND A PROXY, word for word but for paths and
// ports, with the real programs. A test is skipped where its program is not installed.

// recipe returns the file in the manual that begins with that comment, with other words in
// place of some.
func recipe(t *testing.T, comment string, instead ...string) string {
	t.Helper()
	_, text, _ := strings.Cut(string(mustRead(t, "man/penstock.toml.5")), "\n.Sh BEHIND A PROXY\n")
	_, text, found := strings.Cut(text, "\n"+comment+"\n")
	text, _, ends := strings.Cut(text, "\n.Ed\n")
	if !found || !ends {
		t.Fatalf("the manual has no file that begins with %q", comment)
	}
	for i := 0; i < len(instead); i += 2 {
		if !strings.Contains(text, instead[i]) {
			t.Fatalf("%s has no %q:\n%s", comment, instead[i], text)
		}
	}
	return strings.NewReplacer(instead...).Replace(text) + "\n"
}

// behind runs the daemon of the recipe, and in front of it the program, which gets the
// listening socket at descriptor 3 and the file conf. It returns where clients connect.
func behind(t *testing.T, sock, script, conf string) (r *running, at string) {
	t.Helper()
	r = runDaemon(t, parse(t, recipe(t, "# penstock.toml", "/run/penstock/lobby.sock", sock, `socket_group = "haproxy"`, "")))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	file := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script, "sh", file)
	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s", said.String())
		}
	})
	return r, ln.Addr().String()
}

// wantLobby wants a client of the room to be greeted and known by its own address.
func wantLobby(t *testing.T, r *running, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(evlooptest.Patience))
	l := talker{c, t}
	l.say("/who\n")
	l.hears("Welcome to the chat server, " + c.LocalAddr().String() + "\n* 1 here: " + c.LocalAddr().String() + "\n")
	if got := r.peers(); len(got) != 1 || got[0] != c.LocalAddr().String() {
		t.Errorf("the snapshot has %q, want %q", got, c.LocalAddr())
	}
	c.Close()
	r.stop(t)
}

// program returns the path of the first that is installed.
func program(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		for _, candidate := range []string{name, "/usr/sbin/" + name} {
			if path, err := exec.LookPath(candidate); err == nil {
				return path
			}
		}
	}
	t.Skipf("%s is not installed", names[0])
	return ""
}

func TestBehindHAProxy(t *testing.T) {
	haproxy, sock := program(t, "haproxy"), t.TempDir()+"/s"
	r, at := behind(t, sock, "exec "+haproxy+` -db -f "$1"`,
		recipe(t, "# haproxy.cfg", ":7443", "fd@3", "/run/penstock/lobby.sock", sock))
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	wantLobby(t, r, c)
}

func TestBehindStunnel(t *testing.T) {
	stunnel, sock := program(t, "stunnel4", "stunnel"), t.TempDir()+"/s"
	r, at := behind(t, sock, "LISTEN_PID=$$ LISTEN_FDS=1 exec "+stunnel+` "$1"`, "pid =\n"+
		recipe(t, "# /etc/stunnel/lobby.conf", "/etc/stunnel/lobby.pem", certificate(t), "/run/penstock/lobby.sock", sock))
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	wantLobby(t, r, tls.Client(c, &tls.Config{InsecureSkipVerify: true}))
}

// certificate returns a file with a key and a certificate of its own.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
