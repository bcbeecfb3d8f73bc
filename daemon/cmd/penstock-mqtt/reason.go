// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/eclipse/paho.golang/autopaho"

	"penstock/daemon/internal/text"
)

// Reasons of MQTT 5.0 (section 2.4) for which a broker refuses us, and what to do.
var refusals = map[byte]string{
	0x84: "the broker does not speak MQTT 5: penstock-mqtt needs a broker that does, such as mosquitto from 1.6 on",
	0x85: "the broker does not take the name of this board: see board in [mqtt]",
	0x86: "the broker refuses the user or the password: see user and password_file in [mqtt]",
	// Mosquitto says so of a wrong password too.
	0x87: "the broker does not let this user in: see user and password_file in [mqtt], and the broker's own list of rights",
	0x88: "the broker says that it is not available",
	0x89: "the broker says that it is busy",
	0x8a: "the broker has banned this board",
	0x8e: "another client has the same name: two boards need different names, see board in [mqtt]",
	0x95: "the broker takes no packet as long as ours",
	0x97: "the broker says that its quota is used up",
	0x9c: "the broker wants us to use another one",
	0x9d: "the broker has moved",
	0x9f: "the broker says that we connect too often",
}

// errNoTLS means that a connection has ended before there was TLS.
var errNoTLS = errors.New("no TLS")

// explain says in one sentence why there is no connection, with what to do where that is
// known.
func explain(err error) string {
	if c, ok := errors.AsType[*autopaho.ConnackError](err); ok {
		s, known := refusals[c.ReasonCode]
		if !known {
			s = "the broker refuses the connection"
		}
		if c.Reason != "" {
			s += " (" + clean(c.Reason) + ")"
		}
		return s
	}
	if s := explainTLS(err); s != "" {
		return s
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return "the broker's name is not known: " + dns.Name
	}
	switch {
	case errors.Is(err, errOldBroker):
		return errOldBroker.Error() + ": penstock-mqtt needs version 5, as mosquitto has from 1.6 on"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: does the broker run, and on this port?"
	case errors.Is(err, os.ErrNotExist):
		return "there is no such socket: does the broker run?"
	case errors.Is(err, os.ErrPermission):
		return "the system does not allow it: see the rights of the broker's socket, or the unit's IPAddressAllow="
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the broker's address"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "the broker does not answer"
	case errors.Is(err, errNoTLS) && closed(err):
		return "the broker closes the connection before there is TLS: does it speak that on this port?"
	case closed(err):
		return "the broker closes the connection without a word: does it speak MQTT 5 on this port, and want TLS (mqtts)?"
	}
	return clean(err.Error())
}

// explainLoss is explain for a connection that has been there.
func explainLoss(err error) string {
	switch {
	case closed(err):
		return "the broker has closed the connection"
	case strings.Contains(err.Error(), "PINGRESP"): // the library has no error for it
		return "the broker does not answer"
	}
	return explain(err)
}

// closed reports whether the other end is gone.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// explainTLS is explain for what can go wrong before the first byte of MQTT.
func explainTLS(err error) string {
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "there is no TLS on this port: want mqtt:// or the broker's other port"
	}
	if bad, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		err = bad.Err
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "nobody whom we trust has signed the broker's certificate: see ca_file in [mqtt]"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return clean(err.Error()) + ": want the broker's name as its certificate has it"
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return clean(err.Error()) + ": is the clock of this board right?"
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok || strings.Contains(err.Error(), "remote error: tls") {
		return clean(err.Error()) + ": the broker may want cert_file and key_file in [mqtt]"
	}
	return ""
}

// clean makes what a stranger has said fit for the log.
func clean(s string) string { return string(text.AppendClean(nil, []byte(s[:min(len(s), 300)]))) }
