// SPDX-License-Identifier: Apache-2.0

package faulttest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The probe measures two echo services at once, in a process of its own with
// one thread and no collector:
//
//	every 5 ms   ─► mark to one, mark to the other, in turns the other way
//	              ◄─ each mark back; its age is one sample
//
// It does not wait for a mark before it sends the next, as a client that asks
// and waits would. Such a client has one bad sample for a second in which
// nobody was served; here the second has two hundred. What the machine does to
// the probe it does to the samples of both.
const (
	probeEnv    = "FAULTTEST_PROBE" // how long to measure; the arguments are the addresses
	probePeriod = 5 * time.Millisecond
	probeGrace  = 2 * time.Second // for marks that are under way at the end
	probeMark   = 8               // bytes
)

// A delay is what a probe found out about one service.
type delay struct{ p50, p99, worst time.Duration }

func (d delay) String() string {
	const unit = 10 * time.Microsecond
	return fmt.Sprintf("p50 %v, p99 %v, worst %v", d.p50.Round(unit), d.p99.Round(unit), d.worst.Round(unit))
}

// probe measures services for some time. begun is called when it has started,
// and is told when it has ended.
func probe(t *testing.T, window time.Duration, services []net.Addr, begun func(ended <-chan struct{})) []delay {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	for _, a := range services {
		cmd.Args = append(cmd.Args, a.String())
	}
	cmd.Env = append(os.Environ(), probeEnv+"="+window.String())
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	if _, err := out.ReadString('\n'); err != nil {
		_ = cmd.Wait()
		t.Fatalf("no probe: %v", err)
	}
	var rest []byte
	ended := make(chan struct{})
	go func() {
		rest, _ = io.ReadAll(out)
		err = cmd.Wait()
		close(ended)
	}()
	begun(ended)
	<-ended
	if err != nil {
		t.Fatal(err)
	}
	found := make([]delay, len(services))
	in := strings.NewReader(string(rest))
	for i := range found {
		if _, err := fmt.Fscan(in, &found[i].p50, &found[i].p99, &found[i].worst); err != nil {
			t.Fatalf("probe said %q: %v", rest, err)
		}
	}
	return found
}

// runProbe is the process. It prints a line when every service has answered
// once, and at the end one for each.
func runProbe(window time.Duration, addresses []string) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	if err := runAhead(); err != nil {
		return err
	}
	all := make([]*probed, len(addresses))
	for i, a := range addresses {
		p, err := dialProbed(a)
		if err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
		all[i] = p
	}
	fmt.Println("begun")
	if err := measure(all, time.Now().Add(window)); err != nil {
		return err
	}
	for _, p := range all {
		d := p.delay(time.Now())
		fmt.Println(int64(d.p50), int64(d.p99), int64(d.worst))
	}
	return nil
}

// probed is one service in the probe.
type probed struct {
	fd    int
	sent  []time.Time
	bytes int             // that have come back
	ages  []time.Duration // of the marks that have
}

func dialProbed(address string) (*probed, error) {
	a, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: a.Port, Addr: [4]byte(a.IP.To4())}); err != nil {
		return nil, os.NewSyscallError("connect", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	var mark [probeMark]byte
	if _, err := unix.Write(fd, mark[:]); err != nil {
		return nil, os.NewSyscallError("write", err)
	}
	if _, _, err := unix.Recvfrom(fd, mark[:], unix.MSG_WAITALL); err != nil {
		return nil, os.NewSyscallError("recvfrom", err)
	}
	return &probed{fd: fd}, os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}

// measure sends until the end, and then waits for what has not come back.
func measure(all []*probed, end time.Time) error {
	polls := make([]unix.PollFd, len(all))
	for i, p := range all {
		polls[i] = unix.PollFd{Fd: int32(p.fd), Events: unix.POLLIN}
	}
	next := time.Now()
	for {
		now := time.Now()
		if !now.Before(next) && now.Before(end) {
			for _, p := range all {
				if err := p.send(now); err != nil {
					return err
				}
			}
			slices.Reverse(all) // who is first the next time
			slices.Reverse(polls)
			next = next.Add(probePeriod)
			if next.Before(now) {
				next = now.Add(probePeriod) // the probe was late: no burst
			}
		}
		wait := next
		if !now.Before(end) {
			if wait = end.Add(probeGrace); !now.Before(wait) || complete(all) {
				break
			}
		}
		ts := unix.NsecToTimespec(max(0, int64(time.Until(wait))))
		if _, err := unix.Ppoll(polls, &ts, nil); err != nil && err != unix.EINTR {
			return os.NewSyscallError("ppoll", err)
		}
		now = time.Now()
		for i, p := range all {
			if polls[i].Revents != 0 {
				if err := p.receive(now); err != nil {
					return err
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b *probed) int { return a.fd - b.fd })
	return nil
}

func complete(all []*probed) bool {
	return !slices.ContainsFunc(all, func(p *probed) bool { return len(p.ages) < len(p.sent) })
}

func (p *probed) send(now time.Time) error {
	var mark [probeMark]byte
	_, err := unix.Write(p.fd, mark[:])
	if err == nil {
		p.sent = append(p.sent, now)
	}
	return os.NewSyscallError("write", err)
}

func (p *probed) receive(now time.Time) error {
	var b [4096]byte
	n, err := unix.Read(p.fd, b[:])
	if n <= 0 {
		return fmt.Errorf("the service ended the probe: %w", os.NewSyscallError("read", err))
	}
	for p.bytes += n; len(p.ages) < p.bytes/probeMark; {
		p.ages = append(p.ages, now.Sub(p.sent[len(p.ages)]))
	}
	return nil
}

// delay counts marks that are not back as if they came now.
func (p *probed) delay(now time.Time) delay {
	for _, t := range p.sent[len(p.ages):] {
		p.ages = append(p.ages, now.Sub(t))
	}
	slices.Sort(p.ages)
	n := len(p.ages)
	return delay{p.ages[n/2], p.ages[n-1-n/100], p.ages[n-1]}
}
