package status

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// PageJSONName is where the page says that its JSON is: beside it.
const PageJSONName = "status.json"

// HTML is the page for people.
func (p *Page) HTML() ([]byte, error) {
	body := el("body", p.header())
	main := el("main")
	if len(p.Channels) > fewChannels {
		body.AppendChild(p.contents())
	}
	for i := range p.Channels {
		main.AppendChild(p.channel(&p.Channels[i]))
	}
	main.AppendChild(p.incidents())
	body.AppendChild(main)
	body.AppendChild(p.footer())
	var b bytes.Buffer
	err := write(&b, document(p.headline()+" · "+p.Publisher, icon(p.State), body))
	return b.Bytes(), err
}

// fewChannels need no list of themselves.
const fewChannels = 3

// icon is a picture for the tab.
func icon(s State) string {
	color := map[State]string{Up: "%231b7a4a", Partly: "%23d98200", Down: "%23b3261e", Unknown: "%23777"}[s]
	return "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'><circle cx='4.5' cy='4.5' r='4' fill='" + color + "'/></svg>"
}

// tally is how many of something there are, and how many of these are down.
type tally struct{ all, down int }

// places are the locations: one is down if any channel is down there.
func (p *Page) places() (t tally) {
	states := map[string][]State{}
	for _, c := range p.Channels {
		for _, l := range c.Locations {
			states[l.Location] = append(states[l.Location], l.State)
		}
	}
	for _, s := range states {
		t.all++
		if slices.Contains(s, Down) {
			t.down++
		}
	}
	return t
}

// headline is how all of it does, in words.
func (p *Page) headline() string {
	switch t := p.places(); {
	case p.State == Unknown && t.all == 0:
		return "Not checked yet"
	case p.State == Unknown:
		return "Not checked lately"
	case p.State == Up:
		return "Everything is up"
	case p.State == Down:
		return "Everything is down"
	default:
		return fmt.Sprintf("Trouble at %d of %s", t.down, count(t.all, "location"))
	}
}

func (p *Page) header() *html.Node {
	about := count(len(p.Channels), "channel")
	if t := p.places(); t.all > 0 {
		about += " at " + count(t.all, "location")
	}
	return el("header",
		el("p", p.Publisher),
		el("h1", mark(p.State), p.headline()),
		el("p", about+", as of ", timeElement(p.Generated), "."),
		el("ul", class("key small"), attr{"aria-label", "What the bars mean: each is a day"},
			legend("up", "up all day"), legend("partly", "down for a part of it"), legend("down", "down for most of it"), legend("none", "not checked")))
}

func legend(kind, says string) *html.Node {
	return el("li", el("svg", class("bars"), attr{"width", "7"}, attr{"height", "17"}, attr{"viewBox", "0 0 3 20"}, attr{"preserveAspectRatio", "none"}, attr{"aria-hidden", "true"},
		el("path", class(kind), attr{"d", "M0 10h3"})), says)
}

// mark shows a state by shape as well as by color.
func mark(s State) *html.Node {
	return el("span", class("mark "+string(s)), attr{"aria-hidden", "true"})
}

// timeElement is a time that programs can read too.
func timeElement(t time.Time) *html.Node {
	return el("time", attr{"datetime", t.UTC().Format(time.RFC3339)}, moment(t))
}

func (p *Page) contents() *html.Node {
	names := el("ul")
	for _, c := range p.Channels {
		about := c.Name
		if c.State != Up {
			about += ": " + strings.ToLower(sayState(c.State))
		}
		names.AppendChild(el("li", el("a", class(string(c.State)), attr{"href", "#" + c.Name}, mark(c.State), about)))
	}
	return el("nav", attr{"aria-label", "Channels"}, names)
}

// sayState is a state in words.
func sayState(s State) string {
	return map[State]string{Up: "Up", Partly: "Down in part", Down: "Down", Unknown: "Not checked"}[s]
}

func (p *Page) channel(c *PageChannel) *html.Node {
	s := el("section", attr{"aria-labelledby", c.Name},
		el("div", class("row"),
			el("h2", attr{"id", c.Name}, c.Name),
			el("p", class("state "+string(c.State)), mark(c.State), sayState(c.State))),
		p.snapshot(c))
	places := el("ul", class("places"))
	for i := range c.Locations {
		places.AppendChild(p.location(c, &c.Locations[i]))
	}
	if len(c.Locations) > 0 {
		s.AppendChild(places)
	}
	return s
}

func (p *Page) snapshot(c *PageChannel) *html.Node {
	if c.Snapshot == nil {
		return el("p", class("soft"), "Nothing is published yet.")
	}
	facts := el("dl", class("facts"))
	fact := func(name, value, more string) {
		var small *html.Node
		if more != "" {
			small = el("small", more)
		}
		facts.AppendChild(el("div", el("dt", name), el("dd", value, small)))
	}
	s := c.Snapshot
	fact("Newest snapshot", s.Version, span(p.Generated.Sub(s.Cut))+" old")
	if s.Height > 0 {
		fact("Block", number(s.Height), "")
	}
	if s.Bytes > 0 {
		fact("Size when restored", size(s.Bytes), "")
	}
	if !c.Next.IsZero() {
		fact("Next one", "in "+span(c.Next.Sub(p.Generated)), c.Next.Format("2 January, "+clockFormat+" UTC"))
	}
	return facts
}

func (p *Page) location(c *PageChannel, l *PageLocation) *html.Node {
	uptime := "no uptime yet"
	if l.Uptime != nil {
		uptime = percent(*l.Uptime) + " up"
	}
	state := el("p", class("state "+string(l.State)), mark(l.State), sayState(l.State)+" for "+span(p.Generated.Sub(l.Since)))
	if l.State == Unknown {
		state = el("p", class("state unknown"), mark(l.State), sayState(l.State)+" for "+span(p.Generated.Sub(l.Checked)))
	}
	n := el("li", el("div", class("row"), el("h3", l.Location), state))
	if l.State == Down {
		n.AppendChild(el("p", class("down"), sentence(l.Cause)))
	}
	n.AppendChild(l.Days.bars())
	n.AppendChild(el("div", class("row small"), el("p", p.details(c, l)), el("p", uptime+" in 90 days")))
	return n
}

// recent is a time without its day, if that is the day of the page.
func (p *Page) recent(t time.Time) string {
	if t.Format(dayFormat) == p.Generated.Format(dayFormat) {
		return t.Format(clockFormat + " UTC")
	}
	return moment(t)
}

// details is what the last probe has seen.
func (p *Page) details(c *PageChannel, l *PageLocation) string {
	var all []string
	if l.BytesPerSecond > 0 {
		all = append(all, size(int64(l.BytesPerSecond))+"/s")
	}
	if l.HeadSeconds > 0 {
		all = append(all, fmt.Sprintf("answers in %.2f s", l.HeadSeconds))
	}
	if l.Version != "" && c.Snapshot != nil && l.Version != c.Snapshot.Version {
		all = append(all, "has "+l.Version+" as its newest")
	}
	return strings.Join(append(all, "checked "+p.recent(l.Checked)), " · ")
}

// sentence begins with a capital and ends with a full stop.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// incidentsID is no name of a channel, which are identifiers of the page too.
const incidentsID = "_incidents"

func (p *Page) incidents() *html.Node {
	s := el("section", attr{"aria-labelledby", incidentsID}, el("h2", attr{"id", incidentsID}, fmt.Sprintf("Incidents in %d days", PageDays)))
	if len(p.Incidents) == 0 {
		s.AppendChild(el("p", class("soft"), "None."))
		return s
	}
	all := el("ol", class("events"))
	for _, i := range p.Incidents {
		all.AppendChild(p.incident(i))
	}
	s.AppendChild(all)
	if p.Earlier > 0 {
		s.AppendChild(el("p", class("soft"), fmt.Sprintf("And %d earlier ones.", p.Earlier)))
	}
	return s
}

// namedChannels is how many channels of an incident are named.
const namedChannels = 3

func (p *Page) incident(i PageIncident) *html.Node {
	what := list(i.Channels)
	if len(i.Channels) == len(p.Channels) && len(i.Channels) > 1 {
		what = "All channels"
	} else if len(i.Channels) > namedChannels+1 {
		what = list(append(slices.Clone(i.Channels[:namedChannels]), fmt.Sprintf("%d more channels", len(i.Channels)-namedChannels)))
	}
	when := "For " + between(i.Start, i.End)
	if i.End.IsZero() {
		when = fmt.Sprintf("Since %s, %s so far", moment(i.Start), span(p.Generated.Sub(i.Start)))
	}
	return el("li",
		el("h3", i.Location),
		el("p", what+" could not be fetched: "+i.Cause+"."),
		el("p", class("small"), when+"."))
}

func (p *Page) footer() *html.Node {
	return el("footer", class("small"),
		el("p", "A location is up if a program that fetches from it as anybody does gets the publisher's signed list and a sample of the data. "+
			"The percentage is the share of these probes. Days and times are those of UTC."),
		el("p", el("a", attr{"href", PageJSONName}, "The same for programs"), ", as JSON."))
}
