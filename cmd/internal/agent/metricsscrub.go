package agent

import (
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/status"
)

// What the scrub has found, and how far it is.
var (
	metricDamaged      = gauge("qsync_damaged_objects", "How many published objects of the target the scrub knows to be broken, and how many were mended in the last days.", "target", "kind")
	metricScrubSuccess = gauge("qsync_scrub_success", "Whether the scrub could look everywhere in its last round, which takes a day at most.")
	metricScrubActive  = gauge("qsync_scrub_active", "Whether a pass of the scrub is under way.")
	metricScrubStart   = gauge("qsync_scrub_start_timestamp_seconds", "When the last pass of the scrub has begun.")
	metricScrubEnd     = gauge("qsync_scrub_end_timestamp_seconds", "When a pass of the scrub has ended last.")
	metricScrubTotal   = gauge("qsync_scrub_pass_bytes", "What there is to be read in the pass, of all targets, as far as it is known.")
	metricScrubBytes   = gauge("qsync_scrub_read_bytes", "What the pass has read of the target.", "target")
	metricScrubObjects = gauge("qsync_scrub_read_objects", "How many objects of the target the pass has read.", "target")
)

// The kinds of damage.
const (
	brokenDamage = "broken"
	mendedDamage = "mended"
)

// scrubRecord is what there is of the agent's scrub.
type scrubRecord struct {
	pass    status.Pass // the zero value before the first, and if there are to be none
	targets []string
	damage  map[string]map[string]int // by target and kind
}

func readScrub(cfg *config.Agent) (s scrubRecord, err error) {
	record := status.ScrubsIn(cfg.State)
	if !cfg.Scrub.Off {
		if s.pass, err = record.Pass(agentPass); err != nil {
			return s, err
		}
	}
	all, err := record.Damage()
	if err != nil {
		return s, err
	}
	s.damage = map[string]map[string]int{}
	for _, t := range cfg.Targets {
		s.targets = append(s.targets, t.String())
		s.damage[t.String()] = map[string]int{}
	}
	for _, d := range all {
		count := s.damage[d.Target]
		switch {
		case count == nil: // nobody publishes there any more
		case d.Mended.IsZero():
			count[brokenDamage]++
		default:
			count[mendedDamage]++
		}
	}
	return s, nil
}

func tellScrub(tell sample, s *scrubRecord) {
	for _, target := range s.targets {
		for _, kind := range []string{brokenDamage, mendedDamage} {
			tell(metricDamaged, float64(s.damage[target][kind]), target, kind)
		}
	}
	p := &s.pass
	if p.Start.IsZero() {
		return
	}
	tell(metricScrubSuccess, truth(p.Error == ""))
	tell(metricScrubActive, truth(p.End.IsZero()))
	tell(metricScrubStart, moment(p.Start))
	if end := p.LastEnd(); !end.IsZero() {
		tell(metricScrubEnd, moment(end))
	}
	tell(metricScrubTotal, float64(max(p.Total, p.Read)))
	for _, target := range s.targets {
		tell(metricScrubBytes, float64(p.Cursors[target].Bytes), target)
		tell(metricScrubObjects, float64(p.Cursors[target].Objects), target)
	}
}
