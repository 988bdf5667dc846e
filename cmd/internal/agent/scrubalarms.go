package agent

import (
	"fmt"
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

// damageConditions are the targets with something that is broken, or was mended of
// late: what rots today will rot again.
func damageConditions(all []status.Damage, now time.Time) (conditions []alarm.Condition) {
	type found struct {
		broken, mended int
		example        status.Damage
	}
	by, targets := map[string]*found{}, []string{}
	for _, d := range all {
		f := by[d.Target]
		if f == nil {
			f = &found{}
			by[d.Target] = f
			targets = append(targets, d.Target)
		}
		switch {
		case d.Mended.IsZero():
			if f.broken++; f.broken == 1 {
				f.example = d
			}
		case now.Sub(d.Mended) < mendedNews:
			if f.mended++; f.broken == 0 && f.mended == 1 {
				f.example = d
			}
		}
	}
	for _, target := range targets {
		f := by[target]
		c := alarm.Condition{Kind: damageFound, Subject: target}
		example := fmt.Sprintf("%s: %s", f.example.Key, f.example.Wrong)
		switch {
		case f.broken > 0:
			c.Text = brokenObjects(f.broken) + ", and not mended; " + example
			if len(f.example.Versions) > 0 {
				c.Text += fmt.Sprintf("; needed by %s", someOf(f.example.Versions))
			}
			c.Advice = []string{
				"qsyncd status lists what is broken. Look at the disk, or at who else writes there.",
				"The next run stores anew what the database still has; qsyncd scrub looks again. What nobody can fetch any more should be dropped: see keep.",
			}
		case f.mended > 0:
			c.Text = fmt.Sprintf("of the published objects %d were broken, and were mended; %s", f.mended, example)
			c.Advice = []string{"Those who fetch get what was published again. Look at the disk, or at who else writes there: it may happen again."}
		default:
			continue
		}
		conditions = append(conditions, c)
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
