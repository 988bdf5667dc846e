package cdn

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/feature/cloudfront/sign"

	"github.com/qsync/qsync/cmd/internal/term"
)

// A cookie file is what curl writes with --cookie-jar, the form of Netscape: a line
// for each cookie, with tabs between
//
//	domain  subdomains too  path  https only  expires  name  value
//
// or one line like that of the header: name=value; name=value.

// httpOnly is what curl puts before the domain of a cookie that scripts on a page
// cannot see.
const httpOnly = "#HttpOnly_"

// WriteCookies writes cookies as curl does.
func WriteCookies(w io.Writer, cookies []*http.Cookie) error {
	lines := []string{"# Netscape HTTP Cookie File"}
	for _, c := range cookies {
		lines = append(lines, strings.Join([]string{
			httpOnly + c.Domain, "FALSE", c.Path, "TRUE", strconv.FormatInt(c.Expires.Unix(), 10), c.Name, c.Value,
		}, "\t"))
	}
	_, err := io.WriteString(w, strings.Join(lines, "\n")+"\n")
	return err
}

// Cookies are what a cookie file holds.
type Cookies struct {
	file string
	// anyHost says that the file does not tell whom they are for.
	anyHost bool
	list    []*http.Cookie
}

// maxCookieFile is more than any server wants of a client.
const maxCookieFile = 1 << 20

// ReadCookies reads a cookie file. Its errors say nothing of the content.
func ReadCookies(file string) (*Cookies, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the cookies: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCookieFile))
	if err != nil {
		return nil, fmt.Errorf("read the cookies: %w", err)
	}
	c := &Cookies{file: file}
	if c.list, c.anyHost, err = parseCookies(string(text)); err == nil && len(c.list) == 0 {
		err = errors.New("there is no cookie in it")
	}
	if err != nil {
		return nil, term.WithHint(fmt.Errorf("read the cookies: %s: %w", file, err),
			"it has to be what qsyncd cookies prints, curl --cookie-jar writes, or one line name=value; name=value")
	}
	return c, nil
}

func parseCookies(text string) (list []*http.Cookie, anyHost bool, err error) {
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		bare, hidden := strings.CutPrefix(line, httpOnly)
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") && !hidden {
			continue
		}
		if !strings.Contains(line, "\t") && len(list) == 0 {
			header := strings.Trim(strings.TrimPrefix(strings.TrimSpace(line), "Cookie:"), " ;")
			if list, err = http.ParseCookie(header); err != nil {
				return nil, false, fmt.Errorf("line %d is no cookies", number+1)
			}
			anyHost = true
			continue
		}
		c, ok := parseLine(bare)
		if !ok || anyHost {
			return nil, false, fmt.Errorf("line %d is no cookie", number+1)
		}
		list = append(list, c)
	}
	for _, c := range list {
		if until := policyEnd(c); !until.IsZero() {
			c.Expires = until
		}
	}
	return list, anyHost, nil
}

func parseLine(line string) (*http.Cookie, bool) {
	field := strings.Split(line, "\t")
	if len(field) != 7 {
		return nil, false
	}
	seconds, err := strconv.ParseInt(field[4], 10, 64)
	c := &http.Cookie{Domain: strings.TrimPrefix(field[0], "."), Path: field[2], Name: field[5], Value: field[6]} //nolint:gosec // it is sent, and not set
	if seconds > 0 {
		c.Expires = time.Unix(seconds, 0)
	}
	// What is for subdomains too is marked by a dot, as servers once did.
	if strings.EqualFold(field[1], "TRUE") {
		c.Domain = "." + c.Domain
	}
	return c, err == nil && c.Domain != "" && c.Name != ""
}

// policyEnd is when the policy in a cookie of CloudFront ends: a file does not
// always say so. It is zero for other cookies.
func policyEnd(c *http.Cookie) time.Time {
	switch c.Name {
	case "CloudFront-Expires":
		if seconds, err := strconv.ParseInt(c.Value, 10, 64); err == nil {
			return time.Unix(seconds, 0)
		}
	case sign.CookiePolicyName:
		var policy sign.Policy
		text, err := base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "=", "~", "/").Replace(c.Value))
		if err == nil && json.Unmarshal(text, &policy) == nil && len(policy.Statements) == 1 {
			if end := policy.Statements[0].Condition.DateLessThan; end != nil {
				return end.Time
			}
		}
	}
	return time.Time{}
}

// AnyHost reports whether the file does not say which host its cookies are for.
func (c *Cookies) AnyHost() bool { return c.anyHost }

// For are the cookies that belong to a URL, nil if none do. Those that have expired are
// left out, as by a browser. Error: that leaves none, or not all that CloudFront wants.
func (c *Cookies) For(u *url.URL, now time.Time) ([]*http.Cookie, error) {
	var found, expired []*http.Cookie
	for _, cookie := range c.list {
		switch {
		case !c.anyHost && !belongs(cookie, u):
		case !cookie.Expires.IsZero() && !cookie.Expires.After(now):
			expired = append(expired, cookie)
		default:
			found = append(found, cookie)
		}
	}
	for _, cookie := range expired {
		again := slices.ContainsFunc(found, func(f *http.Cookie) bool { return f.Name == cookie.Name })
		if len(found) == 0 || strings.HasPrefix(cookie.Name, cloudFrontPrefix) && !again {
			return nil, term.WithHint(fmt.Errorf("the cookies for %s in %s have expired at %s", u.Hostname(), c.file, cookie.Expires.UTC().Format(time.RFC3339)),
				"ask the publisher for new ones")
		}
	}
	return found, nil
}

// cloudFrontPrefix is what the names of CloudFront's cookies begin with. They are of
// use together only.
const cloudFrontPrefix = "CloudFront-"

// belongs reports whether a cookie is for a host and all paths below a URL.
func belongs(c *http.Cookie, u *url.URL) bool {
	host := strings.ToLower(u.Hostname())
	domain := strings.ToLower(c.Domain)
	parent, subdomains := strings.CutPrefix(domain, ".")
	if host != parent && (!subdomains || !strings.HasSuffix(host, domain)) {
		return false
	}
	below := strings.TrimSuffix(u.EscapedPath(), "/") + "/"
	return strings.HasPrefix(below, strings.TrimSuffix(c.Path, "/")+"/")
}
