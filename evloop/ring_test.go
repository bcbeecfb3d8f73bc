// SPDX-License-Identifier: Apache-2.0

package evloop

// newRinged makes a loop on io_uring and does not take epoll for an answer.
func newRinged(cfg Config) (*Loop, error) {
	cfg.Backend = IOUring
	l, err := New(cfg)
	if err == nil && l.Fallback() != nil {
		l.Close()
		return nil, l.Fallback()
	}
	return l, err
}
