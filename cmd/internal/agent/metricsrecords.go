package agent

import (
	"time"

	"github.com/qsync/qsync/publish/status"
)

// What the state directory has on record. Its counters go on after a restart.
var (
	metricRecordsSuccess = gauge("qsync_records_success", "Whether the records in the state directory could be read last.")

	metricRuns             = counter("qsync_runs_total", "Runs that have ended, by what became of them: published, failed, postponed, lost, interrupted.", "channel", "outcome")
	metricUploadedBytes    = counter("qsync_uploaded_bytes_total", "What the published runs have sent to the targets, all together.", "channel")
	metricRunActive        = gauge("qsync_run_active", "Whether a run is under way.", "channel")
	metricNextRun          = gauge("qsync_next_run_timestamp_seconds", "When the next run is due. Channels without a schedule have none.", "channel")
	metricLastRunSeconds   = gauge("qsync_last_run_duration_seconds", "How long the last published run took.", "channel")
	metricLastSuccess      = gauge("qsync_last_success_timestamp_seconds", "When the last published run has ended.", "channel")
	metricPublishedHeight  = gauge("qsync_published_height", "The last block that is in the last snapshot for certain. Without rpc it is not known.", "channel")
	metricSnapshotBytes    = gauge("qsync_snapshot_bytes", "The size of the last snapshot when it is restored.", "channel")
	metricSnapshotUploaded = gauge("qsync_snapshot_uploaded_bytes", "What the run of the last snapshot has sent to the targets.", "channel")
	metricSnapshotReused   = gauge("qsync_snapshot_reused_bytes", "What of the last snapshot was on the targets already, as it is stored.", "channel")
	metricPause            = gauge("qsync_pause_seconds", "How long the run of the last snapshot held the node.", "channel")

	metricLocationUp     = gauge("qsync_location_up", "Whether the last probe of the channel at the location could fetch.", "channel", "location")
	metricLocationUptime = gauge("qsync_location_uptime_ratio", "The share of the probes of the last 90 days, today included, that could fetch.", "channel", "location")
	metricProbeTime      = gauge("qsync_probe_timestamp_seconds", "When the last probe of the location was over.", "channel", "location")
	metricProbeHead      = gauge("qsync_probe_head_seconds", "How long the last probe took to get the head, where it got it.", "channel", "location")
	metricProbeSpeed     = gauge("qsync_probe_bytes_per_second", "How fast the last probe got its sample of the snapshot, where it got one.", "channel", "location")

	metricQuotaBytes     = gauge("qsync_quota_bytes", "What was delivered this month of UTC, as far as it is known.", "quota")
	metricQuotaProjected = gauge("qsync_quota_projected_bytes", "What will have been delivered at the end of the month if it goes on as in the last days.", "quota")
	metricQuotaCost      = gauge("qsync_quota_cost_dollars", "What was delivered this month costs by list prices; 0 where they are not known.", "quota")
	metricQuotaEndCost   = gauge("qsync_quota_projected_cost_dollars", "What will have been delivered at the end of the month costs by list prices.", "quota")
	metricQuotaBudget    = gauge("qsync_quota_budget_dollars", "What the month may cost, where that is configured.", "quota")
	metricQuotaLimit     = gauge("qsync_quota_limit_bytes", "The volume of a month at which something is done, where that is configured.", "quota")
	metricQuotaOver      = gauge("qsync_quota_over_limit", "Whether there is a limit and it is reached: those who fetch are asked to spare the CDN.", "quota")
	metricQuotaSuccess   = gauge("qsync_quota_look_success", "Whether the last look found out what was delivered.", "quota")
	metricQuotaTime      = gauge("qsync_quota_look_timestamp_seconds", "When was looked last what was delivered.", "quota")

	metricMailsWaiting = gauge("qsync_mails_waiting", "Mails that no mail server has accepted yet.")
	metricMailsOldest  = gauge("qsync_mails_oldest_age_seconds", "How long the oldest mail waits that was not accepted yet; 0 if none does.")
	metricMailFailures = gauge("qsync_mail_failures", "How many attempts in a row, up to the last one, left mails that were not accepted.")
	metricConditionsOf = gauge("qsync_conditions", "How many things are wrong that there are mails about, by their kind.", "kind")

	metricDiskFree = gauge("qsync_disk_free_bytes", "The room that the agent has on the disk of a directory. Of several directories on a disk there is one.", "path")
	metricDiskSize = gauge("qsync_disk_size_bytes", "The size of the disk.", "path")
)

func tellRecords(tell sample, r *records) {
	tell(metricRecordsSuccess, truth(r.err == nil))
	for _, c := range r.channels {
		tellRuns(tell, &c)
	}
	for i := range r.locations {
		tellLocation(tell, &r.locations[i], r.at)
	}
	for _, q := range r.overview.Quota {
		tellQuota(tell, &q)
	}
	for _, q := range r.config.Quota {
		if q.Budget.USD > 0 {
			tell(metricQuotaBudget, float64(q.Budget.USD), q.Name())
		}
	}
	tellScrub(tell, &r.scrub)
	tellMails(tell, r)
	for _, d := range r.disks {
		tell(metricDiskFree, float64(d.Free), d.Path)
		tell(metricDiskSize, float64(d.Total), d.Path)
	}
}

// endings are the outcomes of a run that is over.
var endings = []status.Outcome{status.Published, status.Failed, status.Postponed, status.Lost, status.Interrupted}

func tellRuns(tell sample, c *recorded) {
	for _, o := range endings {
		tell(metricRuns, float64(c.totals.Runs[o]), c.Name, string(o))
	}
	tell(metricUploadedBytes, float64(c.totals.UploadedBytes+c.totals.FilesBytes), c.Name)
	tell(metricRunActive, truth(len(c.Runs) > 0 && c.Runs[0].Outcome == status.Running), c.Name)
	if !c.NextRun.IsZero() {
		tell(metricNextRun, moment(c.NextRun), c.Name)
	}
	last := c.LastSuccess
	if last == nil {
		return
	}
	tell(metricLastRunSeconds, last.Took().Seconds(), c.Name)
	tell(metricLastSuccess, moment(last.End), c.Name)
	if last.Height > 0 {
		tell(metricPublishedHeight, float64(last.Height), c.Name)
	}
	tell(metricSnapshotBytes, float64(last.RawBytes), c.Name)
	tell(metricSnapshotUploaded, float64(last.UploadedBytes+last.FilesBytes), c.Name)
	tell(metricSnapshotReused, float64(last.ReusedBytes), c.Name)
	tell(metricPause, last.PauseSeconds, c.Name)
}

// uptimeDays is what the uptime of a location is taken of.
const uptimeDays = 90

func tellLocation(tell sample, l *status.Location, now time.Time) {
	channel, location := l.Last.Channel, l.Last.Location
	tell(metricLocationUp, truth(l.Last.OK()), channel, location)
	tell(metricProbeTime, moment(l.Last.At), channel, location)
	today := now.UTC()
	if share, ok := l.Uptime(today.AddDate(0, 0, 1-uptimeDays).Format(time.DateOnly), today.Format(time.DateOnly)); ok {
		tell(metricLocationUptime, share, channel, location)
	}
	if l.Last.HeadSeconds > 0 {
		tell(metricProbeHead, l.Last.HeadSeconds, channel, location)
	}
	if l.Last.BytesPerSecond > 0 {
		tell(metricProbeSpeed, l.Last.BytesPerSecond, channel, location)
	}
}

func tellQuota(tell sample, q *Quota) {
	if !q.Time.IsZero() {
		tell(metricQuotaSuccess, truth(q.Error == ""), q.Name)
		tell(metricQuotaTime, moment(q.Time), q.Name)
	}
	if q.Limit > 0 {
		tell(metricQuotaLimit, float64(q.Limit), q.Name)
	}
	tell(metricQuotaOver, truth(q.Over), q.Name)
	if q.Month == nil {
		return
	}
	tell(metricQuotaBytes, float64(q.Month.Bytes), q.Name)
	tell(metricQuotaProjected, float64(q.Month.Project), q.Name)
	tell(metricQuotaCost, q.Month.USD, q.Name)
	tell(metricQuotaEndCost, q.Month.EndUSD, q.Name)
}

func tellMails(tell sample, r *records) {
	s := r.overview.Alarms
	if s == nil {
		return
	}
	oldest := 0.0
	if s.Waiting > 0 {
		oldest = max(0, clock().Sub(s.Oldest).Seconds())
	}
	tell(metricMailsWaiting, float64(s.Waiting))
	tell(metricMailsOldest, oldest)
	tell(metricMailFailures, float64(s.Failures))
	active := map[string]int{}
	for _, a := range s.Active {
		active[a.Kind]++
	}
	for _, kind := range allConditionKinds {
		tell(metricConditionsOf, float64(active[kind]), kind)
	}
}
