package quota

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/qsync/qsync/publish/alarm"
)

// Named is what is on record of a month of a meter.
type Named struct {
	Meter string
	Month Month
}

// OnRecord returns what is on record of the month that a time lies in, of each meter
// that there was then, by name.
func OnRecord(o *alarm.Outbox, at time.Time) ([]Named, error) {
	var all []Named
	err := o.EachMark("quota/", func(name string, v []byte) error {
		meter, is := strings.CutSuffix(strings.TrimPrefix(name, "quota/"), "/"+monthOf(at).Format("2006-01"))
		if !is {
			return nil
		}
		m := Named{Meter: meter}
		if err := json.Unmarshal(v, &m.Month); err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		all = append(all, m)
		return nil
	})
	return all, err
}
