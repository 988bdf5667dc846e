package agent

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/qsync/qsync/publish/alarm"
	"github.com/qsync/qsync/publish/status"
)

// brokenObjects says how many there are.
func brokenObjects(n int) string {
	switch {
	case n == 1:
		return "1 published object is broken"
	case n >= status.MaxDamage:
		return fmt.Sprintf("%d published objects or more are broken", n)
	}
	return fmt.Sprintf("%d published objects are broken", n)
}

// mendedNews is for how long it is told that something was mended.
const mendedNews = 24 * time.Hour

// damageConditions are the targets with something that is broken, and those where
// something was mended of late: what rots today will rot again. That it is mended ends
// the one, and is told by the other.
func damageConditions(all []status.Damage, now time.Time) (conditions []alarm.Condition) {
	broken, mended := map[string][]status.Damage{}, map[string][]status.Damage{}
	for _, d := range all {
		switch {
		case d.Mended.IsZero():
			broken[d.Target] = append(broken[d.Target], d)
		case now.Sub(d.Mended) < mendedNews:
			mended[d.Target] = append(mended[d.Target], d)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(broken)) {
		example := broken[target][0]
		c := alarm.Condition{
			Kind: damageFound, Subject: target,
			Text: fmt.Sprintf("%s, and not mended; %s: %s", brokenObjects(len(broken[target])), example.Key, example.Wrong),
			Advice: []string{
				"qsyncd status lists what is broken. Look at the disk, or at who else writes there.",
				"The next run stores anew what the database still has; qsyncd scrub looks again. What nobody can fetch any more should be dropped: see keep.",
			},
		}
		if len(example.Versions) > 0 {
			c.Text += "; needed by " + someOf(example.Versions)
		}
		conditions = append(conditions, c)
	}
	for _, target := range slices.Sorted(maps.Keys(mended)) {
		example := mended[target][0]
		conditions = append(conditions, alarm.Condition{
			Kind: damageFound, Subject: target + " (mended)",
			Text:   fmt.Sprintf("of the published objects %d were broken, and were mended; %s: %s", len(mended[target]), example.Key, example.Wrong),
			Advice: []string{"Those who fetch get what was published again. Look at the disk, or at who else writes there: it may happen again."},
		})
	}
	return conditions
}

// someOf are the last of some versions, which are the newest.
func someOf(versions []string) string {
	if n := len(versions); n > 1 {
		return fmt.Sprintf("%s and %d more", versions[n-1], n-1)
	}
	return versions[0]
}
