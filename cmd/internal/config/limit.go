package config

import (
	"slices"
	"strings"
)

// Values of then:
const (
	ThenPreferIPFS        = "prefer-ipfs"
	ThenStopCDN           = "stop-cdn"
	ThenRequesterPaysOnly = "requester-pays-only"
)

func (q *Quota) checkLimit(d *document, key string, a *Agent) error {
	words := []string{ThenPreferIPFS, ThenStopCDN, ThenRequesterPaysOnly}
	switch known := "known: " + strings.Join(words, ", "); {
	case q.Limit == 0 && q.Then == "":
		return nil
	case q.Then == "":
		return d.fault(key+".then", known, "is missing: nothing is done at the limit")
	case q.Limit == 0:
		return d.fault(key+".limit", "write limit: 50TB", "is missing: nobody knows when")
	case !slices.Contains(words, q.Then):
		return d.fault(key+".then", known, "%q is not known", q.Then)
	case q.Limit < minStep:
		return d.fault(key+".limit", "write 50TB", "less than 1GB is reached at once")
	case q.Source == SourceServe:
		return d.fault(key+".limit", "remove limit and then", "it is for distributions: a server of yours you can stop")
	}
	if a.Limited(q) == nil {
		if q.Distribution == "" {
			return d.fault(key+".distribution", "name that of the logs", "is missing: there is not exactly one distribution among the targets")
		}
		return d.fault(key+".distribution", "write cloudfront: {distribution: "+q.Distribution+", url: …} beside its bucket", "%s stands before none of the targets, so nothing can be said of it", q.Distribution)
	}
	switch {
	case q.Then == ThenPreferIPFS && !slices.ContainsFunc(a.Targets, func(t Target) bool { return t.IPFS != nil }):
		return d.fault(key+".then", "add the target ipfs: {}, or write then: "+ThenStopCDN, "no target is a node of IPFS")
	case q.Then == ThenRequesterPaysOnly && !slices.ContainsFunc(a.Targets, Target.BillsReaders):
		return d.fault(key+".then", "add a bucket with requester_pays: true, or write then: "+ThenStopCDN, "no target is a bucket whose readers pay")
	}
	return nil
}

// BillsReaders reports whether who reads from a target is billed for it.
func (t Target) BillsReaders() bool { return t.S3 != nil && t.S3.RequesterPays }

// Limited is the distribution that the limit of a quota is about, nil if it is none of
// the targets'.
func (a *Agent) Limited(q *Quota) *CloudFront {
	var all []*CloudFront
	for _, t := range a.Targets {
		if t.CloudFront != nil && (q.Distribution == "" || t.CloudFront.Distribution == q.Distribution) {
			all = append(all, t.CloudFront)
		}
	}
	if len(all) == 0 || q.Distribution == "" && len(all) > 1 {
		return nil
	}
	return all[0]
}
