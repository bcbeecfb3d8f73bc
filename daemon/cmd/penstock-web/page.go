// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/daemon/internal/config"
	"penstock/daemon/internal/control"
	"penstock/daemon/internal/view"
)

// The page is written by one template, whether a browser loads it or follows it live: what
// comes by an event is the part of the page that changes, and the script puts it in the
// place of the old one. So the page is right without a script, and nothing is written
// twice, once in Go and once in JavaScript. The alternative was to send numbers and to
// have the script make the tables; that is fewer bytes, and a second page to maintain.

//go:embed assets
var assets embed.FS

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"bytes":   view.BytesText,
	"rate":    rateText,
	"time":    func(d time.Duration) string { return view.TimeText(max(d, 0)) },
	"count":   countText,
	"plural":  plural,
	"explain": func(word string) string { return reasons[word] },
}).ParseFS(assets, "assets/*.html"))

// mostClients is how many clients the page lists. The others are counted.
const mostClients = 100

// A page is what the template needs.
type page struct {
	Host     string
	Error    string // why there is no more
	Asleep   bool   // the service manager would start the daemon
	Status   *control.Status
	Place    string // what is in force, if it is not what the files say
	In, Out  float64
	Rated    bool
	Refused  uint64
	Cut      uint64
	Services []serviceRow
	Troubles []trouble
	Sources  []sourceRow
	Clients  []client
	More     int // clients that are not listed
	Records  []logRecord
	Terminal bool
	At       string
}

type serviceRow struct {
	view.Service
	ID         string // of its row
	Where      string // it listens
	Down       string // what is wrong with it
	In, Out    float64
	Rated      bool
	Line, Area string // a plot
	Peak       float64
	RefusedSum uint64
	CutSum     uint64
	Terminal   bool
	End        string // what ends a message, as JSON
}

// A trouble is a reason, and how often it was one.
type trouble struct {
	Service, What, Reason string
	Count                 uint64
}

type sourceRow struct {
	Service string
	*view.Source
	Good   bool
	Errors string
}

// A painter makes pages of pictures.
type painter struct {
	host string
	web  *config.Web
	ends map[string]string // of each service, what ends a message
}

func newPainter(host string, cfg *config.Config) painter {
	p := painter{host: host, web: cfg.Web, ends: map[string]string{}}
	for _, s := range cfg.Services {
		p.ends[s.Name] = s.Delimiter()
	}
	return p
}

// paint makes the page of a picture. past is not kept.
func (m painter) paint(p *picture, past history) *page {
	out := &page{Host: m.host, At: p.at.Format("15:04:05"), Records: p.records}
	if p.err != nil {
		out.Error, out.Asleep = explainError(p.err), errors.Is(p.err, errAsleep)
		return out
	}
	st := control.StatusOf(p.snapshot)
	out.Status = &st
	if st.Refused != "" {
		out.Place = "An older configuration is in force, since the files were refused: " + st.Refused
	}
	seen := map[string]int{}
	for i := range p.snapshot.Services {
		s := &p.snapshot.Services[i]
		row := m.service(s, past, p.at)
		if seen[s.Name]++; seen[s.Name] > 1 {
			row.ID += fmt.Sprintf(".%d", seen[s.Name]) // no name has a dot
		}
		out.In, out.Out, out.Rated = out.In+row.In, out.Out+row.Out, out.Rated || row.Rated
		out.Refused, out.Cut = out.Refused+row.RefusedSum, out.Cut+row.CutSum
		out.Terminal = out.Terminal || row.Terminal
		out.Services = append(out.Services, row)
		out.Troubles = append(out.Troubles, troubles(s)...)
		if s.Source != nil {
			out.Sources = append(out.Sources, sourceRow{s.Name, s.Source, s.Source.State == "up", deviceErrors(s.Source)})
		}
	}
	out.Clients = slices.Clone(p.conns)
	slices.SortFunc(out.Clients, func(a, b client) int {
		return cmp.Or(cmp.Compare(b.Queued+b.Kernel, a.Queued+a.Kernel), cmp.Compare(a.Service, b.Service), cmp.Compare(a.ID, b.ID))
	})
	if n := len(out.Clients); n > mostClients {
		out.Clients, out.More = out.Clients[:mostClients], n-mostClients
	}
	return out
}

func (m painter) service(s *view.Service, past history, now time.Time) serviceRow {
	row := serviceRow{Service: *s, ID: "s-" + s.Name, RefusedSum: sum(s.Refused), CutSum: sum(s.Cut)}
	var where []string
	for _, l := range s.Listeners {
		where = append(where, l.Address)
		if l.Dead {
			row.Down = "accepts nobody on " + l.Address
		}
	}
	row.Where = strings.Join(where, " ")
	switch {
	case s.Leaving:
		row.Down, row.ID = "ends with its last client", row.ID+".leaving"
		return row
	case len(s.Missing) > 0:
		row.Down = "nothing listens on " + strings.Join(s.Missing, " ")
	case s.Drained:
		row.Down = "takes no new clients until penstock resume " + s.Name
	}
	row.In, row.Out, row.Rated = past.now(s.Name)
	row.Line, row.Area, row.Peak = past.plot(s.Name, now)
	row.Terminal = m.web != nil && slices.Contains(m.web.Services, s.Name)
	end, err := json.Marshal(m.ends[s.Name])
	if err == nil { // always, for a string
		row.End = string(end)
	}
	return row
}

// explainError says what somebody can do about it.
func explainError(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return err.Error() + ": penstock-web has to be in the group penstock-view"
	case errors.Is(err, fs.ErrNotExist):
		return err.Error() + ": no daemon runs, or it has no control socket"
	}
	return err.Error()
}

func troubles(s *view.Service) (list []trouble) {
	for _, t := range []struct {
		what   string
		counts map[string]uint64
	}{{"refused", s.Refused}, {"cut off", s.Cut}, {"messages lost", s.Lost}} {
		for _, reason := range slices.Sorted(maps.Keys(t.counts)) {
			if n := t.counts[reason]; n > 0 {
				list = append(list, trouble{s.Name, t.what, reason, n})
			}
		}
	}
	if s.Dropped > 0 {
		list = append(list, trouble{s.Name, "messages dropped", "overflow", s.Dropped})
	}
	return list
}

func deviceErrors(s *view.Source) string {
	var parts []string
	for _, e := range []struct {
		n    uint64
		what string
	}{{s.Overrun, "overrun"}, {s.Frame, "frame"}, {s.Parity, "parity"}, {s.Break, "break"}, {s.Long, "long lines"}, {s.Unsent, "bytes unsent"}} {
		if e.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", e.n, e.what))
		}
	}
	if s.Refused != "" {
		parts = append(parts, "has otherwise: "+s.Refused)
	}
	return strings.Join(parts, ", ")
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}

func rateText(v float64) string { return view.BytesText(uint64(v)) + "/s" }

// countText writes 1234567 as "1 234 567", with narrow blanks that do not break.
func countText(v any) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0 && len(s) > 4; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// A painted is a picture as a page, and as an event for those that are open, which is
// written once, by the first who wants it.
type painted struct {
	*picture
	page *page

	once sync.Once
	text []byte
}

// event returns the part of the page that changes, as an event.
func (p *painted) event() []byte {
	p.once.Do(func() { p.text = asEvent(render("live", p.page)) })
	return p.text
}

// render fills a template. The templates are part of the program, and tested.
func render(name string, v any) []byte {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, name, v); err != nil {
		return []byte(template.HTMLEscapeString(err.Error()))
	}
	return b.Bytes()
}
