// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"penstock/daemon/internal/config"
)

// A password is kept as PBKDF2 (RFC 8018) makes it, of HMAC-SHA-256, on one line:
//
//	pbkdf2-sha256$200000$SALT$KEY       SALT and KEY in base64 without padding
//
// A browser sends the password with each request, and PBKDF2 takes a second on a small
// board. So the password that was right last is remembered, by a hash that only this
// process can make. A wrong one costs a whole computation, they are made one after the
// other, and the next one waits for a second: a stranger who guesses gets one guess a
// second, and little of the processor.

const (
	scheme     = "pbkdf2-sha256"
	iterations = 200_000
	keyLength  = 32
	saltLength = 16
	// mostIterations keeps a wrong number in the file from blocking everybody.
	mostIterations = 100_000_000
	// passwordPatience is how long a request waits for others that are being checked.
	passwordPatience = 10 * time.Second
	// wrongCosts is how long a wrong one holds up others that are not remembered.
	wrongCosts = time.Second
)

// A password is what requests must have.
type password struct {
	salt, key  []byte
	iterations int
	pause      time.Duration // wrongCosts, but for tests

	turn   chan struct{} // holds the token of the one that computes
	secret []byte        // of this process
	right  chan []byte   // holds the mark of the one that was right last
}

// parsePassword reads a line of penstock-web hash.
func parsePassword(text string) (*password, error) {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	f := strings.Split(line, "$")
	if len(f) != 4 || f[0] != scheme {
		return nil, errors.New("is no line of penstock-web hash")
	}
	n, err := strconv.Atoi(f[1])
	if err != nil || n < 1 || n > mostIterations {
		return nil, errors.New("has a wrong number of iterations")
	}
	salt, err := base64.RawStdEncoding.DecodeString(f[2])
	if err != nil {
		return nil, fmt.Errorf("salt: %w", err)
	}
	key, err := base64.RawStdEncoding.DecodeString(f[3])
	if err != nil || len(key) != keyLength {
		return nil, errors.New("has a wrong key")
	}
	p := &password{salt: salt, key: key, iterations: n, pause: wrongCosts, turn: make(chan struct{}, 1), secret: make([]byte, keyLength), right: make(chan []byte, 1)}
	rand.Read(p.secret) // never fails
	p.right <- nil
	return p, nil
}

// makeHash returns the line for a password.
func makeHash(secret string, rounds int) (string, error) {
	salt := make([]byte, saltLength)
	rand.Read(salt)
	key, err := pbkdf2.Key(sha256.New, secret, salt, rounds, keyLength)
	if err != nil {
		return "", err
	}
	encode := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d$%s$%s", scheme, rounds, encode(salt), encode(key)), nil
}

// ask reports whether the request has the password. If not, it answers it, and calls wrong
// if there was another one.
func (p *password) ask(w http.ResponseWriter, r *http.Request, wrong func()) bool {
	_, secret, ok := r.BasicAuth()
	if !ok {
		askFor(w)
		return false
	}
	mark := p.mark(secret)
	if p.remembers(mark) {
		return true
	}
	select {
	case p.turn <- struct{}{}:
	case <-r.Context().Done():
		return false
	case <-time.After(passwordPatience):
		http.Error(w, "too many wrong passwords, try again", http.StatusServiceUnavailable)
		return false
	}
	if p.remembers(mark) || p.is(secret) { // another request of the browser may have been before
		<-p.right
		p.right <- mark
		<-p.turn
		return true
	}
	time.AfterFunc(p.pause, func() { <-p.turn })
	wrong()
	askFor(w)
	return false
}

func askFor(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="penstock", charset="UTF-8"`)
	http.Error(w, "a password is needed", http.StatusUnauthorized)
}

// is computes whether secret is the password.
func (p *password) is(secret string) bool {
	key, err := pbkdf2.Key(sha256.New, secret, p.salt, p.iterations, keyLength)
	return err == nil && subtle.ConstantTimeCompare(key, p.key) == 1
}

// remembers reports whether a mark is that of the password that was right last.
func (p *password) remembers(mark []byte) bool {
	last := <-p.right
	p.right <- last
	return hmac.Equal(last, mark)
}

func (p *password) mark(secret string) []byte {
	h := hmac.New(sha256.New, p.secret)
	h.Write([]byte(secret))
	return h.Sum(nil)
}

// credential is the name by which the unit passes the password's file on.
const credential = "password"

// readPassword reads the file that the service manager has passed on, or else the one at
// path.
func readPassword(path string) (*password, error) {
	from := path
	if folder := os.Getenv("CREDENTIALS_DIRECTORY"); folder != "" {
		from = filepath.Join(folder, credential)
	}
	text, err := os.ReadFile(from)
	if err == nil && string(text) == config.NoPassword {
		err = errors.New("the service manager could not read it")
	}
	if err != nil {
		return nil, fmt.Errorf("password_file: %s: %w", path, err)
	}
	p, err := parsePassword(string(text))
	if err != nil {
		return nil, fmt.Errorf("password_file: %s: %w", path, err)
	}
	return p, nil
}

// hash is the command: it reads a line and prints what stands for it.
func (p process) hash() int {
	show := func() {}
	if f, ok := p.stdin.(*os.File); ok {
		if was, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			fmt.Fprint(p.stderr, "Password: ")
			show = func() {
				_ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, was)
				fmt.Fprintln(p.stderr)
			}
			broken := make(chan os.Signal, 1)
			signal.Notify(broken, unix.SIGINT, unix.SIGTERM)
			defer signal.Stop(broken)
			go func() { // the terminal must not stay without echo
				<-broken
				show()
				os.Exit(exitBroken)
			}()
			hidden := *was
			hidden.Lflag &^= unix.ECHO
			_ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &hidden) // shown then, but still read
		}
	}
	line, _ := bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n') // a last line may lack its end
	show()
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		fmt.Fprintln(p.stderr, "penstock-web hash: no password was given")
		return exitFailed
	}
	text, err := makeHash(line, iterations)
	if err != nil {
		fmt.Fprintln(p.stderr, "penstock-web hash:", err)
		return exitFailed
	}
	fmt.Fprintln(p.stdout, text)
	return exitOK
}
