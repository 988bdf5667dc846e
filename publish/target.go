package publish

import (
	"context"
	"errors"
	"time"
)

var (
	// ErrNotFound says that a target has no object of that key.
	ErrNotFound = errors.New("not found")
	// ErrConflict says that somebody else changed a mutable object first.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable says that a target is out of reach at the moment, or does not get
	// round to it: later the same may succeed.
	ErrUnavailable = errors.New("unavailable at the moment")
	// ErrInUse says that another process of this agent works on the channel.
	ErrInUse = errors.New("in use")
)

// MaxMutableSize is the most bytes that a mutable object has.
const MaxMutableSize = 1 << 20

// Object is what a target knows of an object without reading it.
type Object struct {
	Key      string
	Size     int64     // bytes
	Modified time.Time // of the last Put or Swap, by the target's clock
}

// Target is a location as its publisher sees it: an object store with immutable
// objects named by their content and a few mutable ones. All methods are safe
// for concurrent use, by other processes on other machines too. Keys are clean
// relative paths whose elements do not begin with a dot; any other is an error.
//
// An error does not say that nothing happened: a Put or Swap that failed may
// have been applied, wholly but never in part. No method retries for long: the
// target hides the hiccups of its own transport and returns what lasts, as
// ErrUnavailable if it may be over some time.
type Target interface {
	Objects
	Pointers
	// String names the location for people, without credentials.
	String() string
}

// Objects are the immutable objects of a target.
type Objects interface {
	// Put stores an object. When it returns nil the object survives the loss of
	// power, and everybody can read it. Nobody ever sees a part of it. The key
	// names the content, so Put is idempotent: where an object of that key and
	// size exists it is kept, and its Modified becomes now, which keeps Prune
	// away from it; one of another size is a broken one and is replaced. A body that
	// is not what a digest in the key says may be refused. body is not used after
	// the return.
	Put(ctx context.Context, key string, body []byte) error

	// Replace stores an object like Put, and also in the place of one of that key and
	// size, whose content is broken. Who reads meanwhile sees all of the one or of the
	// other.
	Replace(ctx context.Context, key string, body []byte) error

	// Stat describes an object. Error: ErrNotFound.
	Stat(ctx context.Context, key string) (Object, error)

	// Read returns exactly length bytes from offset on. An object that ends
	// before is io.ErrUnexpectedEOF. Error: ErrNotFound.
	Read(ctx context.Context, key string, offset, length int64) ([]byte, error)

	// List calls fn for every object whose key begins with prefix, mutable ones
	// included, in no particular order. What is put or deleted meanwhile may be
	// missing or there. An error of fn ends the listing and is returned.
	List(ctx context.Context, prefix string, fn func(Object) error) error

	// Delete removes an object. One that is not there is no error.
	Delete(ctx context.Context, key string) error
}

// Pointers are the mutable objects of a target, of at most MaxMutableSize
// bytes. A location's caches must not keep them for long.
type Pointers interface {
	// Load returns an object and a tag for this very content, as of now: never
	// from a cache. Error: ErrNotFound.
	Load(ctx context.Context, key string) (body []byte, tag string, err error)

	// Swap replaces the object if its tag is still the given one; "" means that
	// it must not exist. When it returns nil the new content survives the loss of
	// power. Of several callers with the same tag exactly one succeeds. Error:
	// ErrConflict if the tag is not the given one, or the object is gone.
	Swap(ctx context.Context, key, tag string, body []byte) error
}

// Leftovers is for a target whose interrupted Puts leave something behind that
// List does not show: temp files, unfinished uploads.
type Leftovers interface {
	// Leftovers calls fn for what was begun before that time. If fn returns nil
	// and remove is set, it is removed.
	Leftovers(ctx context.Context, before time.Time, remove bool, fn func(Object) error) error
}
