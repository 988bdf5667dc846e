package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/status"
)

// locationDown is the kind of what is wrong with a location. It is looked at by itself,
// whenever a probe has seen something new: what is down need not last, for the probe has
// tried it again.
const locationDown = "location"

// probed lets it know that a probe may have seen something new. It does not wait.
func (a *alarming) probed() { tell(a.seen) }

// watchLocations has told what locations are down.
func (a *alarming) watchLocations(ctx context.Context, cfg *config.Agent, posted chan<- struct{}) {
	outbox, record := alarm.In(cfg.State), status.ProbesIn(cfg.State)
	w := &alarm.Watch{Publisher: cfg.Publisher, Repeat: time.Duration(cfg.Alarms.Repeat), Quiet: quietHours(cfg)}
	every(ctx, watchInterval, a.seen, func() {
		seen, err := record.Locations()
		if err == nil {
			err = w.Look(outbox, clock(), []string{locationDown}, locationConditions(seen))
		}
		if err != nil {
			a.log.Error("what is wrong with locations cannot be told", "error", err)
			return
		}
		tell(posted)
	})
}

// locationConditions are the locations that are down. There is one for each of them,
// whatever channels it is about: a CDN that fails is one mail, and not fifty.
func locationConditions(seen []status.Location) (all []alarm.Condition) {
	slices.SortStableFunc(seen, func(a, b status.Location) int { return cmp.Compare(a.Last.Location, b.Last.Location) })
	for len(seen) > 0 {
		name := seen[0].Last.Location
		n := slices.IndexFunc(seen, func(l status.Location) bool { return l.Last.Location != name })
		if n < 0 {
			n = len(seen)
		}
		here := seen[:n]
		seen = seen[n:]
		var down []string
		cause := ""
		for _, l := range here {
			if !l.Last.OK() {
				down = append(down, l.Last.Channel)
				cause = cmp.Or(cause, l.Last.Error)
			}
		}
		if down == nil {
			continue
		}
		all = append(all, alarm.Condition{
			Kind: locationDown, Subject: name,
			Text: fmt.Sprintf("nobody can fetch %s from there: %s", channelsOf(down, n), cause),
			Advice: []string{
				"qsyncd probe reads what is there now, and says what goes wrong.",
				"Those who fetch go on with the other locations, if there are any.",
			},
		})
	}
	return all
}

// maxNamed is how many channels are told by their names.
const maxNamed = 5

// channelsOf names channels, of so many that there are.
func channelsOf(names []string, of int) string {
	switch {
	case len(names) == of && of > 1:
		return fmt.Sprintf("any of %d channels", of)
	case len(names) > maxNamed:
		return fmt.Sprintf("%s and %d more of %d channels", strings.Join(names[:maxNamed], ", "), len(names)-maxNamed, of)
	}
	return strings.Join(names, ", ")
}
