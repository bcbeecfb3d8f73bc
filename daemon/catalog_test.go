// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"penstock/daemon/internal/report"
)

// An explained is one entry of the catalog.
type explained struct {
	header map[string]string
	text   string
}

// readCatalog reads the format of journald's message catalogs: a line
// "-- ID", header lines, an empty line, text.
func readCatalog(t *testing.T) map[string]explained {
	t.Helper()
	entries := make(map[string]explained)
	all := string(mustRead(t, "../packaging/catalog/penstock.catalog"))
	for _, part := range strings.Split(all, "\n-- ")[1:] {
		id, rest, _ := strings.Cut(part, "\n")
		header, text, _ := strings.Cut(rest, "\n\n")
		e := explained{make(map[string]string), strings.TrimSpace(text)}
		for line := range strings.SplitSeq(header, "\n") {
			key, value, ok := strings.Cut(line, ": ")
			if !ok {
				t.Errorf("%s: header line %q", id, line)
			}
			e.header[key] = value
		}
		if _, twice := entries[id]; twice {
			t.Errorf("%s is explained twice", id)
		}
		entries[id] = e
	}
	return entries
}

// logged returns for each message id of package report the fields of its records.
func logged(t *testing.T) map[string][]string {
	t.Helper()
	paths, err := filepath.Glob("internal/report/*.go")
	if err != nil {
		t.Fatal(err)
	}
	source := ""
	for _, path := range paths {
		source += string(mustRead(t, path))
	}
	constants := make(map[string]string)
	for _, m := range regexp.MustCompile(`\b((?:key|id)[A-Z]\w*) += "(\w+)"`).FindAllStringSubmatch(source, -1) {
		constants[m[1]] = m[2]
	}
	fields := make(map[string][]string)
	for body := range strings.SplitSeq(source, "\nfunc ") {
		for _, m := range regexp.MustCompile(`messageID\((id\w+)\)`).FindAllStringSubmatch(body, -1) {
			id := constants[m[1]]
			for _, m := range regexp.MustCompile(`slog\.\w+\((?:"(\w+)"|(key\w+))`).FindAllStringSubmatch(body, -1) {
				fields[id] = append(fields[id], strings.ToUpper(m[1]+constants[m[2]]))
			}
			if strings.HasPrefix(body, "(s *Service)") {
				fields[id] = append(fields[id], "SERVICE")
			}
			if strings.Contains(body, "peer(") {
				fields[id] = append(fields[id], "PEER")
			}
		}
	}
	for name, value := range constants {
		if strings.HasPrefix(name, "id") && fields[value] == nil {
			t.Errorf("%s is in no record", name)
		}
	}
	return fields
}

// TestCatalog keeps journalctl -x in step with what is logged: every message
// id has an entry that says what happened and what to do, no entry is
// orphaned, and the fields an entry quotes are those of its record.
func TestCatalog(t *testing.T) {
	entries, records := readCatalog(t), logged(t)
	if len(records) < 10 {
		t.Fatalf("only %d message ids found, the patterns of this test are out of date", len(records))
	}
	for id := range entries {
		if _, ok := records[id]; !ok {
			t.Errorf("%s is explained but never logged", id)
		}
	}
	for id, fields := range records {
		e, ok := entries[id]
		if !ok {
			t.Errorf("%s is logged but not explained", id)
			continue
		}
		if e.header["Subject"] == "" || e.header["Defined-By"] != "penstock" || !strings.Contains(e.header["Documentation"], "man:penstock") {
			t.Errorf("%s: incomplete header %v", id, slices.Sorted(maps.Keys(e.header)))
		}
		if paragraphs := strings.Split(e.text, "\n\n"); len(paragraphs) < 2 {
			t.Errorf("%s: want an explanation and, as the last paragraph, what to do:\n%s", id, e.text)
		}
		for _, m := range regexp.MustCompile(`@(\w+)@`).FindAllStringSubmatch(e.text, -1) {
			if !slices.Contains(fields, m[1]) {
				t.Errorf("%s quotes %s, which is none of the fields %v", id, m[1], fields)
			}
		}
	}
}

// TestCatalogReasons: whoever looks up why a client was refused or cut finds
// the reason in the entry.
func TestCatalogReasons(t *testing.T) {
	entries := readCatalog(t)
	for _, tt := range []struct {
		subject string
		reasons []report.Reason
	}{
		{"A client was refused", report.Refusals()},
		{"A client was cut off", slices.DeleteFunc(report.Ends(), func(r report.Reason) bool { return !r.Cut() })},
	} {
		text := ""
		for _, e := range entries {
			if e.header["Subject"] == tt.subject {
				text = e.text
			}
		}
		for _, r := range tt.reasons {
			if !regexp.MustCompile(`(?m)^    ` + r.String() + ` `).MatchString(text) {
				t.Errorf("%s: reason %s is not explained", tt.subject, r)
			}
		}
	}
}
