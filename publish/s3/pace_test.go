package s3

import (
	"testing"
	"testing/synctest"
	"time"
)

// requestsIn is how many requests a pace lets through in a time, if the store
// answers all of them so.
func requestsIn(t *testing.T, p *pace, d time.Duration, slow bool) (n int) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); n++ {
		if err := p.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.answered(slow)
	}
	return n
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		between := func(what string, got, least, most int) {
			t.Helper()
			if got < least || got > most {
				t.Errorf("%s: %d requests, want %d to %d", what, got, least, most)
			}
		}
		between("the first second", requestsIn(t, p, time.Second, false), firstRate-1, firstRate+1)
		requestsIn(t, p, 10*time.Second, false)
		between("after a while", requestsIn(t, p, time.Second, false), maxRate-1, maxRate+1)
		between("the store asks to slow down", requestsIn(t, p, time.Second, true), maxRate/2-5, maxRate/2+5)
		requestsIn(t, p, 20*time.Second, true)
		between("it keeps asking", requestsIn(t, p, 10*time.Second, true), 9, 11)
		requestsIn(t, p, 20*time.Second, false)
		between("it is well again", requestsIn(t, p, time.Second, false), 50, maxRate)
	})
}

// TestPaceOfMixedAnswers: a store takes so many requests a second and refuses only what
// is beyond them.
func TestPaceOfMixedAnswers(t *testing.T) {
	for _, takes := range []float64{20, 400, 2000} {
		synctest.Test(t, func(t *testing.T) {
			p := newPace()
			room, last := 1.0, time.Now()
			minute := func() (taken, refused int) {
				for end := time.Now().Add(time.Minute); time.Now().Before(end); {
					if err := p.wait(t.Context()); err != nil {
						t.Fatal(err)
					}
					room, last = min(1, room+takes*time.Since(last).Seconds()), time.Now()
					slow := room < 1
					if slow {
						refused++
					} else {
						room--
						taken++
					}
					p.answered(slow)
				}
				return taken, refused
			}
			minute() // to find out
			taken, refused := minute()
			if share := float64(refused) / float64(taken+refused); share > 0.1 || float64(taken) < takes*60/2 {
				t.Errorf("of a store that takes %g a second: %d taken and %d refused in a minute, want half of what it takes, and at most a tenth refused",
					takes, taken, refused)
			}
		})
	}
}

// TestPacesOfPrefixes: one prefix that is slow does not hold up the others.
func TestPacesOfPrefixes(t *testing.T) {
	target := &Target{prefix: "a/b/"}
	for name, other := range map[string]bool{
		"a/b/segments/01/x.zst": false, "a/b/segments/02/y.zst": false,
		"a/b/indexes/x": true, "a/b/some-channel/20261122-040000/full/x": true, "a/b/": true,
	} {
		if got := target.pace(name) != target.pace("a/b/segments/00/0.zst"); got != other {
			t.Errorf("%s: another pace is %t, want %t", name, got, other)
		}
	}
}
