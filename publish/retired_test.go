package publish

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qsync/qsync/manifest"
)

func snapshotAt(t time.Time) manifest.Snapshot {
	v := t.UTC().Format(manifest.VersionFormat)
	return manifest.Snapshot{Version: v, Manifest: manifest.Sum([]byte(v)), Size: 100}
}

func TestKeep(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	day := func(n int) manifest.Snapshot { return snapshotAt(now.AddDate(0, 0, -n)) }
	for name, c := range map[string]struct {
		keep Keep
		days []int // ages of the versions
		kept int
	}{
		"no limit":                  {Keep{}, []int{1, 100, 1000}, 3},
		"by count":                  {Keep{Versions: 2}, []int{1, 2, 3, 4}, 2},
		"fewer than the count":      {Keep{Versions: 5}, []int{1, 2}, 2},
		"by age":                    {Keep{Days: 3}, []int{1, 2, 3, 4, 5}, 3},
		"the stricter one: count":   {Keep{Versions: 1, Days: 3}, []int{1, 2, 3, 4}, 1},
		"the stricter one: age":     {Keep{Versions: 3, Days: 1}, []int{1, 2, 3, 4}, 1},
		"the newest stays, though":  {Keep{Versions: 1, Days: 1}, []int{50, 60}, 1},
		"exactly as old as allowed": {Keep{Days: 2}, []int{2}, 1},
	} {
		var all []manifest.Snapshot
		for _, d := range c.days {
			all = append(all, day(d))
		}
		kept, dropped := c.keep.split(all, now)
		if diff := cmp.Diff(all[:c.kept], kept); diff != "" {
			t.Errorf("%s: kept (-want +got):\n%s", name, diff)
		}
		if !slices.Equal(all[c.kept:], dropped) {
			t.Errorf("%s: dropped %v", name, dropped)
		}
	}
}

func TestRetire(t *testing.T) {
	t0 := time.Date(2026, 11, 22, 12, 0, 0, 999, time.UTC)
	a, b := snapshotAt(t0), snapshotAt(t0.Add(time.Hour))
	list := retire(nil, []manifest.Snapshot{a, b}, t0)
	list = retire(list, []manifest.Snapshot{a}, t0.Add(time.Hour))
	want := []retired{
		{b, t0.Truncate(time.Second)},
		{a, t0.Truncate(time.Second).Add(time.Hour)}, // its time starts again
	}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	again, err := parseRetired(marshalRetired(list))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(list, again); diff != "" {
		t.Errorf("written and parsed (-want +got):\n%s", diff)
	}
}

func FuzzParseRetired(f *testing.F) {
	t0 := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	text := string(marshalRetired(retire(nil, []manifest.Snapshot{snapshotAt(t0)}, t0)))
	f.Add(text)
	f.Add(retiredFormat + "\n")
	f.Add(strings.Replace(text, " 100 ", " 0100 ", 1))
	f.Add(strings.TrimSuffix(text, "\n"))
	f.Fuzz(func(t *testing.T, text string) {
		list, err := parseRetired([]byte(text))
		if err != nil {
			return
		}
		if got := string(marshalRetired(list)); got != text {
			t.Errorf("%q was read, and is written as %q", text, got)
		}
	})
}

func TestParseObject(t *testing.T) {
	d := manifest.Sum([]byte("x"))
	for k := range keyOf {
		o := object{kind(k), d}
		if got, ok := parseObject(o.key()); !ok || got != o {
			t.Errorf("%s: %v, %t", o.key(), got, ok)
		}
		if !strings.HasPrefix(o.key(), prefixOf[k]) {
			t.Errorf("%s does not begin with %s", o.key(), prefixOf[k])
		}
		for _, other := range []string{"x/" + o.key(), o.key() + "x", o.key() + "/x", strings.ToUpper(o.key()), strings.TrimPrefix(o.key(), prefixOf[k])} {
			if _, ok := parseObject(other); ok {
				t.Errorf("%s is taken for an object", other)
			}
		}
	}
}
