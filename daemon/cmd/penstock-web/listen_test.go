// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"testing"
)

// TestBoundedCloses: an Accept that waits for room ends with the listener.
func TestBoundedCloses(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	room := make(chan struct{}, 1)
	room <- struct{}{}
	b := newBounded(l, room)
	done := make(chan error, 1)
	go func() {
		_, err := b.Accept()
		done <- err
	}()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v", err)
	}
}
