package config

import (
	"strings"
	"testing"
	"time"
)

func TestScrub(t *testing.T) {
	for text, want := range map[string]Scrub{
		"":                                {Every: Duration(30 * 24 * time.Hour), Rate: 20_000_000},
		"scrub: { every: 7d }\n":          {Every: Duration(7 * 24 * time.Hour), Rate: 20_000_000},
		"scrub: { rate: 5MB }\n":          {Every: Duration(30 * 24 * time.Hour), Rate: 5_000_000},
		"scrub: off\n":                    {Every: Duration(30 * 24 * time.Hour), Rate: 20_000_000, Off: true},
		"scrub: { every: 1h, rate: 1 }\n": {Every: Duration(time.Hour), Rate: 1},
	} {
		a, err := LoadAgent(write(t, agentYAML+text))
		if err != nil || a.Scrub != want {
			t.Errorf("%q: %+v, %v", text, a.Scrub, err)
		}
	}
	for text, want := range map[string]string{
		"scrub: never\n":          `scrub: "never": want off, or`,
		"scrub: { every: 1m }\n":  "scrub.every: less than an hour",
		"scrub: { rate: much }\n": `scrub.rate: "much": want a number of bytes`,
		"scrub: { speed: 1MB }\n": "scrub.speed: unknown key",
	} {
		if _, err := LoadAgent(write(t, agentYAML+text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
