package status

import (
	"net/url"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// publicName is a location as everybody may know it: where it is, and not who reads
// there, how, or by which other address. What is neither a URL nor a word is not named
// at all: it might be a path of this machine.
func publicName(location string) string {
	if manifest.CheckChannel(location) == nil { // like ipfs
		return location
	}
	location, _, _ = strings.Cut(location, " ") // then comes the address of a bucket's store
	u, err := url.Parse(location)
	if err != nil || u.Host == "" || u.Scheme == "file" {
		return "a location without a public name"
	}
	if u.Scheme == "https" {
		return u.Host + strings.TrimSuffix(u.Path, "/")
	}
	return u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/")
}

// causes are the words for why a location is down, by what the error of a probe may
// hold. The first that fits is taken.
var causes = []struct {
	words []string
	says  string
}{
	{[]string{"x509", "certificate", "tls:"}, "no secure connection could be made to it"},
	{[]string{"expired"}, "what was signed has expired there"},
	{[]string{"trust", "signature", "signed", "rollback", "digest", "does not match", "damaged", "wrong content", "corrupt"},
		"what it served was not what was signed"},
	{[]string{"lags behind", "is behind", " older"}, "it served an older version"},
	{[]string{"timeout", "timed out", "deadline exceeded", "no data for", "too slow", "too long", "within"}, "it did not answer in time"},
	{[]string{"connection refused", "no such host", "no route", "unreachable", "connection reset", "broken pipe", "dial ", "lookup ", "EOF"},
		"it could not be reached"},
	{[]string{" 401", " 403", "forbidden", "denied"}, "it refused access"},
	{[]string{" 404", "not found", "no such"}, "something was missing there"},
	{[]string{" 429", " 500", " 502", " 503", " 504", "server answered"}, "it answered with an error"},
}

// publicCause says in words of our own why a location is down: the text of an error may
// hold what servers say, and addresses.
func publicCause(text string) string {
	text = " " + strings.ToLower(text)
	for _, c := range causes {
		for _, word := range c.words {
			if strings.Contains(text, strings.ToLower(word)) {
				return c.says
			}
		}
	}
	return "it could not be read from"
}
