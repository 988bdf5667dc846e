package awssetup

import (
	"math"
	"strings"
	"testing"
)

// TestRates: a TB has so many bytes, objects and GB of a bill.
func TestRates(t *testing.T) {
	want := map[string]float64{
		"storage in bucket polka-cdn, a TB and month": 22.82,
		"storage in bucket polka-raw, a TB and month": 21.42,
		"CDN, a TB":            79.16,
		"CDN requests, a TB":   0.0711,
		"invalidation, a path": 0.005,
		"raw files, a TB":      83.82,
	}
	for _, c := range fullPlan().Rates() {
		if math.Abs(c.USD-want[c.What]) > 0.005*want[c.What] {
			t.Errorf("%s: %.4f, want %.4f", c.What, c.USD, want[c.What])
		}
		delete(want, c.What)
		if c.What == "CDN requests, a TB" && !strings.Contains(c.Note, "about 59,234 GETs") {
			t.Error(c.Note)
		}
	}
	if len(want) > 0 {
		t.Errorf("nothing is said of %v", want)
	}
}

// TestEstimate: by hand, from the tables of Amazon's pages.
func TestEstimate(t *testing.T) {
	const bytesOfTiB = 1 << 40
	for _, c := range []struct {
		downloads float64 // TiB in a month
		cdn       float64
	}{
		{0, 0}, {0.5, 0}, {1, 0},
		{2, 1024 * 0.085},
		{10, 9 * 1024 * 0.085},
		{20, 9*1024*0.085 + 10*1024*0.080},
		{60, 9*1024*0.085 + 40*1024*0.080 + 10*1024*0.060},
	} {
		costs, sum := fullPlan().Estimate(bytesOfTiB, int64(c.downloads*bytesOfTiB))
		var total float64
		for _, got := range costs {
			total += got.USD
			want := map[string]float64{"CDN": c.cdn, "storage in bucket polka-cdn": 1024 * 0.0245, "storage in bucket polka-raw": 1024 * 0.023, "CDN requests": 0}
			if w, known := want[got.What]; known && math.Abs(got.USD-w) > 0.001 {
				t.Errorf("%.1f TiB: %s costs %.2f, want %.2f", c.downloads, got.What, got.USD, w)
			}
		}
		if math.Abs(total-sum) > 0.001 {
			t.Errorf("%.1f TiB: the sum is %.2f, not %.2f", c.downloads, sum, total)
		}
	}
	if _, sum := (&Plan{Raw: &Bucket{Name: "polka-raw", Region: "xx-far-1"}}).Estimate(bytesOfTiB, 100*bytesOfTiB); math.Abs(sum-(1024*0.023+0.325)) > 0.01 {
		t.Errorf("a raw bucket alone costs %.2f: its readers pay for the rest", sum)
	}
	if _, note := pricesIn("xx-far-1"); !strings.Contains(note, "may be higher") {
		t.Error(note)
	}
	// Requests begin to cost behind ten million, which is 169 TB.
	costs, _ := fullPlan().Estimate(0, 200*tb)
	for _, c := range costs {
		if want := (200*59234.0 - 10_000_000) / 10_000 * 0.012; c.What == "CDN requests" && math.Abs(c.USD-want) > 0.05 {
			t.Errorf("%s: %.3f, want %.3f", c.What, c.USD, want)
		}
	}
}
