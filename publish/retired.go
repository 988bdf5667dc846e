package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/qsync/qsync/manifest"
)

// A channel's retired list is a mutable object beside its head: the versions
// that were dropped from it, whose objects live on for those who are restoring
// them. It is for publishers only and not signed: whoever can write there could
// as well delete the objects.
//
//	qsync retired v1
//	snapshot 20261121-040002 sha256:77ff… 2840 2026-11-29T04:12:00Z
const retiredFormat = "qsync retired v1"

// retired is a version that no head names any more.
type retired struct {
	manifest.Snapshot
	Dropped time.Time
}

func retiredKey(channel string) string { return channel + "/retired" }

func marshalRetired(list []retired) []byte {
	b := []byte(retiredFormat + "\n")
	for _, r := range list {
		b = fmt.Appendf(b, "snapshot %s %s %d %s\n", r.Version, r.Manifest, r.Size, manifest.FormatTime(r.Dropped))
	}
	return b
}

func parseRetired(text []byte) ([]retired, error) {
	lines := strings.Split(string(text), "\n")
	if lines[0] != retiredFormat {
		return nil, fmt.Errorf("%w: %.80q, want %q", manifest.ErrVersion, lines[0], retiredFormat)
	}
	if len(lines) < 2 || lines[len(lines)-1] != "" {
		return nil, fmt.Errorf("%w: no line end at the end", manifest.ErrMalformed)
	}
	var list []retired
	for _, line := range lines[1 : len(lines)-1] {
		w := strings.Split(line, " ")
		if len(w) != 5 || w[0] != "snapshot" {
			return nil, fmt.Errorf("%w: line %.80q", manifest.ErrMalformed, line)
		}
		digest, err1 := manifest.ParseDigest(w[2])
		size, err2 := strconv.ParseInt(w[3], 10, 64)
		dropped, err3 := manifest.ParseTime(w[4])
		if err := errors.Join(manifest.CheckVersion(w[1]), err1, err2, err3); err != nil {
			return nil, err
		}
		if size < 1 || size > manifest.MaxManifestSize {
			return nil, fmt.Errorf("%w: manifest of %d bytes", manifest.ErrLimit, size)
		}
		list = append(list, retired{manifest.Snapshot{Version: w[1], Manifest: digest, Size: size}, dropped})
	}
	if !bytes.Equal(marshalRetired(list), text) {
		return nil, fmt.Errorf("%w: not in its one form", manifest.ErrMalformed)
	}
	return list, nil
}

func loadRetired(ctx context.Context, t Target, channel string) (list []retired, tag string, err error) {
	text, tag, err := t.Load(ctx, retiredKey(channel))
	if errors.Is(err, ErrNotFound) {
		return nil, "", nil
	}
	if err == nil {
		list, err = parseRetired(text)
	}
	if err != nil {
		return nil, "", fmt.Errorf("load %s from %s: %w", retiredKey(channel), t, err)
	}
	return list, tag, nil
}

// editRetired replaces the retired list by what edit makes of it, if that is
// another one.
func editRetired(ctx context.Context, t Target, channel string, edit func([]retired) []retired) error {
	for try := 1; ; try++ {
		list, tag, err := loadRetired(ctx, t, channel)
		if err != nil {
			return err
		}
		next := edit(slices.Clone(list))
		if slices.Equal(next, list) {
			return nil
		}
		err = t.Swap(ctx, retiredKey(channel), tag, marshalRetired(next))
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) || try == maxSwaps {
			return fmt.Errorf("swap %s on %s: %w", retiredKey(channel), t, err)
		}
	}
}

// retire adds versions to a list. One that is on it already, from a prune that
// died before it changed the head, starts its time again.
func retire(list []retired, dropped []manifest.Snapshot, now time.Time) []retired {
	for _, s := range dropped {
		list = slices.DeleteFunc(list, func(r retired) bool { return r.Snapshot == s })
		list = append(list, retired{s, now.UTC().Truncate(time.Second)})
	}
	return list
}
