// SPDX-License-Identifier: Apache-2.0

package view

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

func metricsOf(t *testing.T, s *Snapshot) string {
	t.Helper()
	var text strings.Builder
	if err := s.WriteMetrics(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

var sample = &Snapshot{
	Version: `1"2\3`, Phase: "ready", Uptime: 90 * time.Second, Limit: 7,
	Loop: Loop{Busy: 1500 * time.Microsecond, Asleep: time.Hour, Longest: time.Millisecond, Took: []uint64{4, 3, 2, 1}},
	Services: []Service{
		{
			Name: "gps", Kind: "bridge", Clients: 2, Most: 3, Accepted: 5, Bytes: Traffic{10, 20},
			Refused: map[string]uint64{"address": 1, "uid": 2}, Source: &Source{Overrun: 4},
		},
		{Name: "gps", Kind: "bridge", Leaving: true, Clients: 1, Most: 9, Accepted: 6, Bytes: Traffic{1, 2}, Refused: map[string]uint64{"uid": 3}},
		{Name: "x", Kind: "echo"},
	},
}

// TestMetrics: each line is of the format, each metric has its help and type once and
// before it, and no line has the labels of another one.
func TestMetrics(t *testing.T) {
	text := metricsOf(t, sample)
	line := regexp.MustCompile(`^(penstock_[a-z_]+)(\{[a-z]+="([^"\\]|\\.)*"(,[a-z]+="([^"\\]|\\.)*")*\})? [0-9.]+$`)
	seen, of := map[string]bool{}, ""
	for l := range strings.Lines(text) {
		l = strings.TrimSuffix(l, "\n")
		if after, ok := strings.CutPrefix(l, "# TYPE "); ok {
			of, _, _ = strings.Cut(after, " ")
		}
		key, _, _ := strings.Cut(l, "} ")
		if strings.HasPrefix(l, "#") {
			key, _, _ = strings.Cut(l[2:], of)
			key += of
		}
		if seen[key] {
			t.Errorf("twice: %s", key)
		}
		seen[key] = true
		if m := line.FindStringSubmatch(l); !strings.HasPrefix(l, "#") && (m == nil || m[1] != of && of != "penstock_loop_turn_seconds") {
			t.Errorf("not a line of %s: %s", of, l)
		}
	}
	for _, want := range []string{
		`penstock_build_info{version="1\"2\\3"} 1`,
		`penstock_uptime_seconds 90`,
		`penstock_connections{service="gps",kind="bridge"} 3`,
		`penstock_connections_peak{service="gps",kind="bridge"} 9`,
		`penstock_connections_refused_total{service="gps",kind="bridge",reason="uid"} 5`,
		`penstock_sent_bytes_total{service="gps",kind="bridge"} 22`,
		`penstock_source_errors_total{service="gps",kind="bridge",reason="overrun"} 4`,
		`penstock_connections{service="x",kind="echo"} 0`,
		`penstock_loop_asleep_seconds_total 3600`,
		`penstock_loop_longest_turn_seconds 0.001`,
		`penstock_loop_turn_seconds_bucket{le="0.000064"} 4`,
		`penstock_loop_turn_seconds_bucket{le="0.001024"} 9`,
		`penstock_loop_turn_seconds_bucket{le="+Inf"} 10`,
		`penstock_loop_turn_seconds_sum 0.0015`,
		`penstock_loop_turn_seconds_count 10`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("there is no line %s in\n%s", want, text)
		}
	}
}

// TestMetricsPromtool: Prometheus itself has nothing against them.
func TestMetricsPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed")
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(metricsOf(t, sample))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
