package awssetup

import (
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/aws/smithy-go"
)

// versioned is something at CloudFront that is changed by the tag of its version.
type versioned[C any] struct {
	read func() (is *C, etag *string, err error)
	// want is what it must be, given what it is.
	want   func(is *C) *C
	update func(to *C, etag *string) error
}

// change makes it what it must be, and keeps what that leaves open.
//
// A tag that does not fit any more may be our own doing: the answer to the update was
// lost, and Amazon's library has sent it twice. So it is read again. If it is as it
// must be, that was it; if it is as before, there is another tag for it. Else
// somebody else has changed it, and must not be overruled.
func (v *versioned[C]) change() error {
	var before map[string]string
	var refused error
	for range 3 {
		is, etag, err := v.read()
		if err != nil {
			return err
		}
		wanted, now := v.want(is), flatten(is)
		if refused != nil && len(compare(wanted, is)) == 0 {
			return nil
		}
		if refused != nil && !maps.Equal(before, now) {
			return refused
		}
		before = now
		overlay(reflect.ValueOf(is).Elem(), reflect.ValueOf(wanted).Elem())
		if refused = v.update(is, etag); !outdated(refused) {
			return refused
		}
	}
	return refused
}

// outdated reports whether an update was refused because of its tag.
func outdated(err error) bool {
	answer := (smithy.APIError)(nil)
	return errors.As(err, &answer) && slices.Contains([]string{"PreconditionFailed", "InvalidIfMatchVersion"}, answer.ErrorCode())
}

// always wants the same, whatever there is.
func always[C any](wanted *C) func(*C) *C { return func(*C) *C { return wanted } }

// union is a list of words with others that are not in it yet.
func union(list []string, others ...string) []string {
	list = slices.Clone(list)
	for _, o := range others {
		if !slices.Contains(list, o) {
			list = append(list, o)
		}
	}
	return list
}
