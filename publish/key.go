package publish

import (
	"io/fs"
	"path"
	"strings"

	"github.com/qsync/qsync/manifest"
)

// ValidKey reports whether a target takes an object of that key: a clean relative
// path whose elements do not begin with a dot.
func ValidKey(key string) bool {
	return fs.ValidPath(key) && !strings.HasPrefix(key, ".") && !strings.Contains(key, "/.") && !strings.ContainsAny(key, "\\\x00")
}

// NamedDigest is the digest that a segment, an index or a manifest is named by. It
// reports false for any other object: those can change.
func NamedDigest(key string) (manifest.Digest, bool) {
	name, _, _ := strings.Cut(path.Base(key), ".")
	d, err := manifest.ParseDigest("sha256:" + name)
	return d, err == nil && (key == manifest.SegmentKey(d) || key == manifest.IndexKey(d) || key == manifest.ManifestKey(d))
}

// Immutable reports whether an object never changes once it is there: what is named
// by its digest, and what belongs to a version.
func Immutable(key string) bool {
	_, named := NamedDigest(key)
	_, _, ofVersion := parseFileKey(key)
	return named || ofVersion
}

// What caches may do with an object. Immutable ones are named by their content;
// the others are what a new version shows in.
const (
	CacheForever = "public, max-age=31536000, immutable"
	CacheShortly = "public, max-age=30"
)

// ContentType is the media type of the object at a key.
func ContentType(key string) string {
	if _, _, ofVersion := parseFileKey(key); ofVersion && path.Ext(key) != ".txt" {
		return "application/octet-stream"
	}
	if key == StatusPageKey {
		return "text/html; charset=utf-8"
	}
	switch path.Ext(key) {
	case ".json":
		return "application/json"
	case ".zst":
		return "application/zstd"
	default:
		return "text/plain; charset=utf-8" // head, catalog, keys
	}
}
