package status_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/qsync/qsync/publish/status"
	"github.com/qsync/qsync/scripts/browser"
)

var evening = time.Date(2026, 11, 25, 20, 30, 0, 0, time.UTC)

// locationOf has been probed each five minutes for so many days, up to the evening; on
// the days that failures name, counted back from the last, so many probes have failed.
func locationOf(channel, location string, days int, failures map[int]int) status.Location {
	l := status.Location{
		Last: status.Probe{
			Channel: channel, Location: location, At: evening.Add(-2 * time.Minute), Version: "20261125-040003", Sequence: 412,
			Height: 23_456_789, SnapshotBytes: 1_234_567_890_123, HeadSeconds: 0.118, Bytes: 16 << 20, BytesPerSecond: 87.4e6,
		},
		Since: evening.AddDate(0, 0, -days),
	}
	for i := days - 1; i >= 0; i-- {
		d := status.Day{Date: evening.AddDate(0, 0, -i).Format(time.DateOnly), Probes: 288, Failed: failures[i]}
		if d.Failed > 0 {
			l.Since = evening.AddDate(0, 0, -i)
		}
		l.Days = append(l.Days, d)
	}
	return l
}

// facts are of a service with so many channels at three locations each.
func facts(channels int) status.Facts {
	f := status.Facts{Publisher: "snapshots.example.org", Stale: time.Hour}
	names := []string{"polkadot-rocksdb-archive", "polkadot-paritydb-prune", "kusama-rocksdb-prune", "asset-hub-polkadot-rocksdb-archive", "westend-rocksdb-prune"}
	for i := range channels {
		name := names[i%len(names)]
		if i >= len(names) {
			name += fmt.Sprint("-", i)
		}
		f.Channels = append(f.Channels, status.ChannelFacts{
			Name: name, Chain: strings.Split(name, "-")[0], Next: evening.Add(7*time.Hour + 30*time.Minute),
			Published: &status.Run{Version: "20261125-040003", Height: 23_456_789, RawBytes: 1_234_567_890_123},
		})
		f.Locations = append(f.Locations,
			locationOf(name, "https://d111111abcdef8.cloudfront.net", 90, map[int]int{61: 3, 22: 201, 21: 12, 3: 1}),
			locationOf(name, "https://snapshots.example.org", 90, nil),
			locationOf(name, "s3://qsync-raw?region=us-east-1&requester-pays=true", 34, map[int]int{30: 288, 29: 288, 28: 40}))
	}
	return f
}

const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)> at /var/lib/qsync/state from 10.1.2.3:9000 `

// withTrouble lets a location of the facts be down, with what hostile servers say.
func withTrouble(f status.Facts, at int, cause string) status.Facts {
	l := &f.Locations[at]
	l.Last.Error, l.Since = cause, evening.Add(-25*time.Minute)
	l.Last.Version, l.Last.BytesPerSecond, l.Last.HeadSeconds = "", 0, 0
	l.Days[len(l.Days)-1].Failed += 5
	f.Incidents = append(f.Incidents, status.Incident{Channel: l.Last.Channel, Location: l.Last.Location, Start: l.Since, Cause: cause})
	return f
}

func incident(channel, location, cause string, start time.Time, length time.Duration) status.Incident {
	return status.Incident{Channel: channel, Location: location, Start: start, End: start.Add(length), Cause: cause}
}

func pageHTML(t *testing.T, p *status.Page) []byte {
	t.Helper()
	body, err := p.HTML()
	must(t, err)
	return body
}

// text is what a reader sees, with one space between words.
func text(t *testing.T, page []byte) string {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(page))
	must(t, err)
	var words []string
	for n := range root.Descendants() {
		if n.Type == html.TextNode && n.Parent.Data != "style" {
			words = append(words, strings.Fields(n.Data)...)
		}
	}
	return strings.Join(words, " ")
}

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in\n%s", w, text)
		}
	}
}

func TestPage(t *testing.T) {
	f := facts(2)
	all := text(t, pageHTML(t, status.NewPage(f, evening)))
	contains(t, all, "snapshots.example.org Everything is up 2 channels at 3 locations, as of 25 November 2026, 20:30 UTC .",
		"polkadot-rocksdb-archive Up Newest snapshot 20261125-040003 16 h 30 min old Block 23,456,789 Size when restored 1.1 TiB Next one in 7 h 30 min 26 November, 04:00 UTC",
		"d111111abcdef8.cloudfront.net Up for 3 days 83 MiB/s · answers in 0.12 s · checked 20:28 UTC 99.16 % up in 90 days",
		"snapshots.example.org Up for 90 days", "100 % up in 90 days", "s3://qsync-raw Up for 28 days",
		"Incidents in 90 days None.")

	// One location goes down, for both channels.
	f = withTrouble(withTrouble(f, 1, "dial tcp 10.1.2.3:443: connect: connection refused"), 4, "dial tcp 10.1.2.3:443: connect: connection refused")
	f.Incidents = append(f.Incidents,
		incident("polkadot-paritydb-prune", "https://d111111abcdef8.cloudfront.net", "server answered 503 Service Unavailable", evening.AddDate(0, 0, -22), 16*time.Hour+45*time.Minute),
		incident("polkadot-paritydb-prune", "https://d111111abcdef8.cloudfront.net", "long ago", evening.AddDate(0, 0, -91), time.Minute),
		incident("not-configured", "https://snapshots.example.org", "nobody cares", evening.AddDate(0, 0, -1), time.Minute))
	p := status.NewPage(f, evening)
	all = text(t, pageHTML(t, p))
	contains(t, all, "Trouble at 1 of 3 locations 2 channels",
		"polkadot-rocksdb-archive Down in part",
		"snapshots.example.org Down for 25 min It could not be reached. checked 20:28 UTC 99.98 % up in 90 days",
		"snapshots.example.org All channels could not be fetched: it could not be reached. Since 25 November 2026, 20:05 UTC, 25 min so far.",
		"polkadot-paritydb-prune could not be fetched: it answered with an error. For 16 h 45 min, from 3 November 2026, 20:30 UTC to 4 November 2026, 13:15 UTC.")
	if strings.Contains(all, "nobody") || strings.Contains(all, "long ago") || len(p.Incidents) != 2 {
		t.Errorf("%d incidents: %s", len(p.Incidents), all)
	}
	if p.State != status.Partly || p.Channels[0].State != status.Partly || p.Channels[0].Locations[1].State != status.Down {
		t.Errorf("%s, %s", p.State, p.Channels[0].State)
	}

	// It is up again, with an older version than the newest.
	f = facts(1)
	f.Locations[0].Last.Version = "20261124-040002"
	contains(t, text(t, pageHTML(t, status.NewPage(f, evening))), "has 20261124-040002 as its newest")
	// A newer one than this agent has published is another agent's.
	f.Locations[0].Last.Version, f.Locations[0].Last.Height = "20261125-100000", 23_500_000
	contains(t, text(t, pageHTML(t, status.NewPage(f, evening))), "Newest snapshot 20261125-100000 10 h 30 min old Block 23,500,000")
}

// TestPageUnknown: what nobody has looked at is not said to be up, nor down.
func TestPageUnknown(t *testing.T) {
	contains(t, text(t, pageHTML(t, status.NewPage(status.Facts{Publisher: "p", Channels: []status.ChannelFacts{{Name: "demo-files"}}}, evening))),
		"Not checked yet", "demo-files Not checked Nothing is published yet.")
	p := status.NewPage(facts(1), evening.Add(3*time.Hour))
	contains(t, text(t, pageHTML(t, p)), "Not checked lately", "Not checked for 3 h 2 min")
	if p.State != status.Unknown {
		t.Error(p.State)
	}
	f := withTrouble(withTrouble(withTrouble(facts(1), 0, "x"), 1, "x"), 2, "x")
	contains(t, text(t, pageHTML(t, status.NewPage(f, evening))), "Everything is down", "polkadot-rocksdb-archive Down", "It could not be read from.")
}

// TestPageIsPublic: nothing that servers say, and nothing of the inside, is on the page.
func TestPageIsPublic(t *testing.T) {
	f := facts(3)
	for i := range f.Locations {
		f = withTrouble(f, i, hostile)
	}
	f.Locations[0].Last.Location = "https://user:hunter2@cdn.example.org/x/?token=hunter2#hunter2"
	f.Locations[1].Last.Location = "/srv/qsync"
	f.Locations[2].Last.Location = "s3://bucket/prefix?endpoint=https%3A%2F%2Fstore.internal"
	f.Publisher, f.Channels[0].Name, f.Channels[0].Published.Version = hostile, `a" onclick="x`, hostile
	for i := range 3 {
		f.Locations[i].Last.Channel = f.Channels[0].Name
	}
	f.Locations[3].Last.Version = `<b>`
	p := status.NewPage(f, evening)
	body := pageHTML(t, p)
	asJSON, err := p.JSON()
	must(t, err)
	for _, secret := range []string{"hunter2", "/srv/qsync", "store.internal", "user:"} {
		if bytes.Contains(body, []byte(secret)) || bytes.Contains(asJSON, []byte(secret)) {
			t.Errorf("it says %s", secret)
		}
	}
	p.Publisher, p.Channels[0].Name = "p", "c" // which the agent's owner chooses, and may say
	asJSON, err = p.JSON()
	must(t, err)
	for _, secret := range []string{"10.1.2.3", "/var/lib", "alert"} {
		if bytes.Contains(pageHTML(t, p), []byte(secret)) || bytes.Contains(asJSON, []byte(secret)) {
			t.Errorf("it says %s", secret)
		}
	}
	contains(t, text(t, body), "cdn.example.org/x", "a location without a public name", "s3://bucket/prefix")
	checkElements(t, body)
}

// checkElements: nothing has become an element or an attribute that was none.
func checkElements(t *testing.T, body []byte) {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(body))
	must(t, err)
	for n := range root.Descendants() {
		if n.Type == html.CommentNode || n.Type == html.ElementNode && (n.Data == "script" || n.Data == "img" || n.Data == "b") {
			t.Errorf("there is a %q", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || strings.Contains(a.Val, "javascript:") {
				t.Errorf("<%s> has %s=%q", n.Data, a.Key, a.Val)
			}
		}
	}
}

// TestPageSize holds the pages to what a phone on a bad line bears.
func TestPageSize(t *testing.T) {
	for channels, most := range map[int]int{0: 6 << 10, 5: 50_000, 50: 250_000} {
		f := facts(channels)
		for i := range f.Locations {
			for n := range 25 {
				f.Incidents = append(f.Incidents, incident(f.Locations[i].Last.Channel, f.Locations[i].Last.Location, "timeout", evening.Add(-time.Duration(200*n+i)*time.Hour/10), time.Minute))
			}
			for d := range f.Locations[i].Days {
				f.Locations[i].Days[d].Failed = d % 3 * 144 // no two days alike: the longest that bars can be
			}
		}
		p := status.NewPage(f, evening)
		body := pageHTML(t, p)
		asJSON, err := p.JSON()
		must(t, err)
		usual := pageHTML(t, status.NewPage(facts(channels), evening))
		t.Logf("%d channels: %d bytes, of JSON %d; usually %d", channels, len(body), len(asJSON), len(usual))
		if len(body) > most {
			t.Errorf("%d channels: %d bytes of HTML, want %d at most", channels, len(body), most)
		}
	}
}

// TestPageJSON: it is read back as it was written, and told from another one.
func TestPageJSON(t *testing.T) {
	f := withTrouble(facts(2), 1, "timeout")
	p := status.NewPage(f, evening)
	asJSON, err := p.JSON()
	must(t, err)
	var back status.Page
	must(t, json.Unmarshal(asJSON, &back))
	again, err := back.JSON()
	must(t, err)
	if !bytes.Equal(asJSON, again) || back.Format != 1 || back.Channels[0].Locations[1].Cause != "it did not answer in time" {
		t.Errorf("%s\n%s", asJSON, again)
	}
	if made, same := status.NewPage(f, evening.Add(time.Minute)).Says(asJSON); !same || !made.Equal(evening) {
		t.Errorf("%v %t: nothing is new", made, same)
	}
	f.Locations[0].Last.At = evening.Add(time.Second)
	if _, same := status.NewPage(f, evening.Add(time.Minute)).Says(asJSON); same {
		t.Error("a new probe is not new")
	}
	if _, same := p.Says([]byte("[]")); same {
		t.Error("it says the same as something else")
	}
}

// TestInBrowser has people look at the page and at the report.
func TestInBrowser(t *testing.T) {
	const refused = "dial tcp 10.1.2.3:443: connect: connection refused"
	trouble := withTrouble(withTrouble(facts(5), 1, refused), 4, refused)
	trouble.Locations[2].Last.At = evening.Add(-26 * time.Hour)
	trouble.Incidents = append(trouble.Incidents,
		incident("polkadot-rocksdb-archive", "https://d111111abcdef8.cloudfront.net", "server answered 503", evening.AddDate(0, 0, -22), 16*time.Hour+45*time.Minute),
		incident("westend-rocksdb-prune", "s3://qsync-raw", "no such key", evening.AddDate(0, 0, -30), 51*time.Hour))
	report, err := status.NewReport(reportFacts(), november, evening).HTML()
	must(t, err)
	for _, f := range browser.Look(t, map[string][]byte{
		"status":         pageHTML(t, status.NewPage(facts(2), evening)),
		"status-trouble": pageHTML(t, status.NewPage(trouble, evening)),
		"report":         report,
	}) {
		t.Error(f)
	}
}
