package manifest

import (
	"fmt"
	"regexp"
	"time"
)

var channelPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// VersionFormat is the layout of a version: the time of the cut in UTC.
const VersionFormat = "20060102-150405"

// reservedNames are directories of a location, which no channel may be named like.
var reservedNames = map[string]bool{"manifests": true, "indexes": true, "segments": true, CatalogKey: true, KeysKey: true}

// CheckChannel reports whether name can name a channel or a chain.
func CheckChannel(name string) error {
	if len(name) > MaxChannelName || !channelPattern.MatchString(name) || reservedNames[name] {
		return fmt.Errorf("%w: channel %.80q: want lower-case letters, digits and single hyphens", ErrMalformed, name)
	}
	return nil
}

// CheckVersion reports whether v is a time in the form of [VersionFormat].
func CheckVersion(v string) error {
	if t, err := time.Parse(VersionFormat, v); err != nil || t.Format(VersionFormat) != v {
		return fmt.Errorf("%w: version %.80q: want YYYYMMDD-HHMMSS", ErrMalformed, v)
	}
	return nil
}

// FormatTime writes a time as the format does: RFC 3339 in UTC, whole seconds.
func FormatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// ParseTime reads what [FormatTime] writes.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || FormatTime(t) != s {
		return time.Time{}, fmt.Errorf("%w: time %.80q: want RFC 3339 in UTC with whole seconds", ErrMalformed, s)
	}
	return t, nil
}
