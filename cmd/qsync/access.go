package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/qsync/qsync/cmd/internal/cdn"
	"github.com/qsync/qsync/cmd/internal/config"
	"github.com/qsync/qsync/cmd/internal/term"
	"github.com/qsync/qsync/fetcher"
	"github.com/qsync/qsync/fetcher/source"
)

// overrideAccess puts what the flags say of access over what is configured.
func (o *publisherOptions) overrideAccess(chosen []config.Publisher) ([]config.Publisher, error) {
	if o.cookieFile == "" && o.signURLs == "" {
		return chosen, nil
	}
	flag := "--cookie-file"
	if o.signURLs != "" {
		flag = "--sign-urls"
	}
	if len(chosen) != 1 {
		return nil, term.WithHint(term.Usagef("%s is for one publisher, and %d are configured", flag, len(chosen)),
			"give --from and --trust too, or write it into the configuration of the publisher: as cookie_file or signer")
	}
	p := chosen[0]
	p.CookieFile, p.Signer = o.cookieFile, nil
	if o.signURLs != "" {
		id, file, ok := strings.Cut(o.signURLs, ":")
		if !ok || id == "" || file == "" {
			return nil, term.Usagef("--sign-urls %q: want KEY_PAIR_ID:KEY_FILE", o.signURLs)
		}
		p.Signer = &config.SigningKey{KeyPairID: id, KeyFile: file}
	}
	return []config.Publisher{p}, nil
}

// access opens the private places of a publisher.
type access struct {
	cookies *cdn.Cookies     // nil without
	signer  source.URLSigner // likewise
}

// newAccess reads what the publisher's places want to see.
func newAccess(p *config.Publisher) (*access, error) {
	a := &access{}
	var err error
	if p.CookieFile != "" {
		if a.cookies, err = cdn.ReadCookies(p.CookieFile); err != nil {
			return nil, err
		}
	}
	if p.Signer != nil {
		key, err := cdn.ReadKey(p.Signer.KeyPairID, p.Signer.KeyFile)
		if err != nil {
			return nil, err
		}
		a.signer = key.URLs()
	}
	if a.signer == nil && (a.cookies == nil || !a.cookies.AnyHost()) {
		return a, nil
	}
	// A secret that does not say whom it is for goes to nobody who is not meant.
	if hosts := webHosts(p.Sources()); len(hosts) != 1 {
		return nil, term.WithHint(term.Usagef("cookies without a host, or a key, are for one web server, and the sources name %d", len(hosts)),
			"cookies as qsyncd cookies prints them say which host they are for")
	}
	return a, nil
}

func webHosts(urls []string) (hosts []string) {
	for _, s := range urls {
		if u, err := url.Parse(s); err == nil && (u.Scheme == "https" || u.Scheme == "http") && !slices.Contains(hosts, u.Host) {
			hosts = append(hosts, u.Host)
		}
	}
	return hosts
}

// forURL is what a source has to show.
func (a *access) forURL(s string) (of source.Access, err error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return of, nil //nolint:nilerr // who opens it says what is wrong with it
	}
	of.Signer = a.signer
	if a.cookies != nil {
		of.Cookies, err = a.cookies.For(u, time.Now())
	}
	return of, err
}

// open opens the sources of a publisher.
func (o *publisherOptions) open(p *config.Publisher, swarm *swarm, consent *source.Consent) ([]fetcher.Source, error) {
	a, err := newAccess(p)
	if err != nil {
		return nil, err
	}
	var all []fetcher.Source
	used := false
	for _, s := range p.Sources() {
		if isSite(s) {
			site, err := swarm.site(s)
			if err != nil {
				return nil, &term.UsageError{Err: err}
			}
			all = append(all, site)
			continue
		}
		access, err := a.forURL(s)
		if err != nil {
			return nil, err
		}
		used = used || len(access.Cookies) > 0
		opened, err := source.Options{Consent: consent, Access: access}.Open(s)
		if err != nil {
			return nil, &term.UsageError{Err: err}
		}
		all = append(all, opened)
	}
	if a.cookies != nil && !used {
		return nil, term.WithHint(fmt.Errorf("read the cookies: %s has none for %s", p.CookieFile, strings.Join(webHosts(p.Sources()), ", ")),
			"cookies are for a host and a path; ask the publisher for those of this place")
	}
	return all, nil
}
