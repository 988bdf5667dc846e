package config

import (
	"errors"
	"strings"
	"testing"
)

const limitYAML = `publisher: snapshots.example.org
key: /etc/qsync/key
state: /var/lib/qsync
targets:
  - s3: {bucket: cdn, region: us-east-1}
    cloudfront: {distribution: E2QWRUHEXAMPLE, url: "https://d111111abcdef8.cloudfront.net"}
  - s3: {bucket: raw, region: us-east-1, layout: files, requester_pays: true}
  - ipfs: {dht: off}
channels: [{name: demo-files, chain: demo, database: {kind: files, path: /srv/db}, node: {none: {}}}]
` + alarmsYAML

func TestLimit(t *testing.T) {
	text := strings.Replace(limitYAML, "password_file: smtp", "password_file: /etc/qsync/smtp", 1)
	for _, then := range []string{ThenPreferIPFS, ThenStopCDN, ThenRequesterPaysOnly} {
		for _, source := range []string{"cloudwatch, distribution: E2QWRUHEXAMPLE", "access-logs, bucket: logs"} {
			a, err := LoadAgent(write(t, text+"quota: [{source: "+source+", limit: 50TB, then: "+then+"}]\n"))
			if err != nil {
				t.Errorf("%s: %v", source, err)
				continue
			}
			q := &a.Quota[0]
			if c := a.Limited(q); q.Limit != 50e12 || q.Then != then || c == nil || c.URL != "https://d111111abcdef8.cloudfront.net" {
				t.Errorf("%s: %+v, %+v", source, q, c)
			}
		}
	}
	for _, c := range []struct{ name, old, new, quota, want, hint string }{
		{"no word", "", "", "source: cloudwatch, distribution: E2QWRUHEXAMPLE, limit: 50TB", "quota[0].then: is missing", "prefer-ipfs"},
		{"no limit", "", "", "source: cloudwatch, distribution: E2QWRUHEXAMPLE, then: stop-cdn", "quota[0].limit: is missing", "50TB"},
		{"unknown word", "", "", "source: cloudwatch, distribution: E2QWRUHEXAMPLE, limit: 50TB, then: stop", `quota[0].then: "stop" is not known`, "stop-cdn"},
		{"a slip of the unit", "", "", "source: cloudwatch, distribution: E2QWRUHEXAMPLE, limit: 50MB, then: stop-cdn", "quota[0].limit: less than 1GB", "50TB"},
		{"own server", "\n  - ipfs", "\n  - dir: {path: /srv/qsync}\n  - ipfs", "source: serve, limit: 50TB, then: stop-cdn", "quota[0].limit: it is for distributions", "remove"},
		{"another distribution", "", "", "source: cloudwatch, distribution: E1, limit: 50TB, then: stop-cdn", "quota[0].distribution: E1 stands before none", "cloudfront:"},
		{"logs of several", "\n  - ipfs", "\n  - {s3: {bucket: two}, cloudfront: {distribution: E2, url: \"https://d2.cloudfront.net\"}}\n  - ipfs",
			"source: access-logs, bucket: logs, limit: 50TB, then: stop-cdn", "quota[0].distribution: is missing", "name that of the logs"},
		{"no node", "  - ipfs: {dht: off}\n", "", "source: cloudwatch, distribution: E2QWRUHEXAMPLE, limit: 50TB, then: prefer-ipfs", "quota[0].then: no target is a node of IPFS", "stop-cdn"},
		{"nobody pays", ", requester_pays: true", "", "source: cloudwatch, distribution: E2QWRUHEXAMPLE, limit: 50TB, then: requester-pays-only", "quota[0].then: no target is a bucket whose readers pay", "requester_pays: true"},
	} {
		_, err := LoadAgent(write(t, strings.Replace(text, c.old, c.new, 1)+"quota: [{"+c.quota+"}]\n"))
		fault := (*Error)(nil)
		if !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) || !strings.Contains(fault.Help, c.hint) {
			t.Errorf("%s: error %v, want %q with the hint %q", c.name, err, c.want, c.hint)
		}
	}
}
