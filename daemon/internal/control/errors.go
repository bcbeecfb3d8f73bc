// SPDX-License-Identifier: Apache-2.0

package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// An Error is a reply that says why there is no other.
type Error struct {
	Name       string          // penstock.Control.NoSuchService
	Parameters json.RawMessage // an object; nil: none
}

// Error returns the name, and what the parameters say.
func (e *Error) Error() string {
	if e.Parameters == nil || string(e.Parameters) == "{}" {
		return e.Name
	}
	var fields map[string]any
	if json.Unmarshal(e.Parameters, &fields) == nil && len(fields) == 1 {
		for _, v := range fields {
			return fmt.Sprintf("%s: %v", e.Name, v)
		}
	}
	return e.Name + ": " + string(e.Parameters)
}

// Is reports whether target is an Error of the same name.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Name == e.Name
}

// Reply returns the error as a reply.
func (e *Error) Reply() Reply { return Reply{Error: e.Name, Parameters: e.Parameters} }

// newError makes an error with one parameter.
func newError(name, key string, value any) *Error {
	b, err := json.Marshal(map[string]any{key: value})
	if err != nil {
		b = nil // no value that is passed here can fail
	}
	return &Error{Name: name, Parameters: b}
}

const service = "org.varlink.service."

// InterfaceNotFound says that there is no such interface.
func InterfaceNotFound(name string) *Error {
	return newError(service+"InterfaceNotFound", "interface", name)
}

// MethodNotFound says that the interface has no such method.
func MethodNotFound(name string) *Error { return newError(service+"MethodNotFound", "method", name) }

// InvalidParameter says that a parameter is not known, or has a wrong value.
func InvalidParameter(name string) *Error {
	return newError(service+"InvalidParameter", "parameter", name)
}

// Errors without parameters.
var (
	// ErrPermission means that the caller may not do that.
	ErrPermission = &Error{Name: service + "PermissionDenied"}
	// ErrExpectedMore means that the method has several replies, and the call is without
	// "more".
	ErrExpectedMore = &Error{Name: service + "ExpectedMore"}
	// ErrExpectedUpgrade means that the method makes the connection another one, and the
	// call is without "upgrade".
	ErrExpectedUpgrade = &Error{Name: Interface + ".ExpectedUpgrade"}
	// ErrStopping means that the process ends, or hands over to the next one. The caller
	// may come again.
	ErrStopping = &Error{Name: Interface + ".Stopping"}
)

// NoSuchService says that no service has the name.
func NoSuchService(name string) *Error {
	return newError(Interface+".NoSuchService", "service", name)
}

// NoSuchConnection says that no client has the number.
func NoSuchConnection(id uint64) *Error {
	return newError(Interface+".NoSuchConnection", "id", id)
}

// Refused says that an act has no effect, and why.
func Refused(why string) *Error { return newError(Interface+".Refused", "reason", why) }

// Reason returns what Refused was given, if err is such an error.
func Reason(err error) (why string, ok bool) {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Name != Interface+".Refused" {
		return "", false
	}
	var p struct {
		Reason string `json:"reason"`
	}
	_ = json.Unmarshal(e.Parameters, &p) // "" if it says nothing
	return p.Reason, true
}

// ShortName returns the name of an error without its interface: "NoSuchService".
func ShortName(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }
