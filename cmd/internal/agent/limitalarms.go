package agent

import (
	"fmt"

	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/quota"
)

// limitConditions are the quotas that are over their limit.
func limitConditions(quotas []Quota) (all []alarm.Condition) {
	for _, q := range quotas {
		if q.Over {
			all = append(all, alarm.Condition{
				Kind: overLimit, Subject: q.Name,
				Text: fmt.Sprintf("it has delivered %s in %s, and its limit is %s: until the month ends %s",
					quota.Size(max(q.Month.Bytes, q.Month.Most)), q.Month.Start.Format("January 2006"), quota.Size(q.Limit), q.Asked()),
				Advice: []string{
					"If the limit is too low, write a higher one into the configuration and reload it: then all is as before.",
					"qsync does what it is asked. Whoever downloads by other means costs money as before: disable the distribution if nothing else helps.",
				},
			})
		}
	}
	return all
}

// Asked says what those who fetch are asked over the limit.
func (q *Quota) Asked() string {
	switch q.Then {
	case config.ThenPreferIPFS:
		return "those who fetch are asked to take from it only what nobody else has, on IPFS above all"
	case config.ThenStopCDN:
		return "those who fetch are asked to take the data from elsewhere"
	}
	return "those who fetch are asked to take the data from buckets whose readers pay"
}
